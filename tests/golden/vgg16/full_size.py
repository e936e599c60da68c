"""Compares showtell's full-size VGG-16 with torchvision's, on your own JPEG files.

    pip install torch==2.11.0 torchvision==0.26.0 pyarrow blake3
    python full_size.py path/to/showtell DIRECTORY_OF_JPEGS [WEIGHTS]

Without weights a torchvision vgg16 with random ones is made and saved, in both .pth formats; the
comparison does not need the trained ones. fc7 is compared after its ReLU, relative to the largest
feature of each image: from the file on within 2e-2, since decoders differ. Needs about 4 GB of
memory. Prints the largest and the mean deviation, and fails where they are too large.
"""

import pathlib
import subprocess
import sys
import tempfile

import pyarrow.parquet as pq
import torch
from blake3 import blake3
from PIL import Image, ImageOps
from torchvision.models import vgg16
from torchvision.transforms import functional as F


def expected(model, file):
    picture = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    picture = F.center_crop(F.resize(picture, 256, antialias=True), 224)
    x = F.normalize(F.to_tensor(picture), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        return model.classifier[:5](torch.flatten(model.avgpool(model.features(x[None])), 1))[0]


def main():
    showtell, directory = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    torch.manual_seed(0)
    model = vgg16().eval()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        files = {}
        if len(sys.argv) > 3:
            files["given"] = pathlib.Path(sys.argv[3])
            model.load_state_dict(torch.load(files["given"], weights_only=True))
        else:
            files["zip"], files["legacy"] = scratch / "zip.pth", scratch / "legacy.pth"
            torch.save(model.state_dict(), files["zip"])
            torch.save(model.state_dict(), files["legacy"], _use_new_zipfile_serialization=False)
        for name, weights in files.items():
            out = scratch / name
            command = [showtell, "embed", directory, "--out", out, "--weights", weights, "--full-precision-cache"]
            subprocess.run(command, check=True)
            tables = [pq.read_table(part) for part in out.glob("embeddings/*/*.parquet")]
            found = {}
            for table in tables:
                found.update(zip(table["image_id"].to_pylist(), table["embedding"].to_pylist()))
            deviations = []
            for file in sorted(directory.rglob("*.jpg")):
                features = expected(model, file)
                ours = torch.tensor(found[blake3(file.read_bytes()).hexdigest()])
                assert ours.shape == (4096,), ours.shape
                deviations.append(((ours - features).abs().max() / features.abs().max()).item())
            worst, mean = max(deviations), sum(deviations) / len(deviations)
            print(f"{name}: {len(deviations)} images, largest deviation {worst:.2e}, mean {mean:.2e}")
            assert worst < 2e-2, "features differ from torchvision's"


if __name__ == "__main__":
    main()
