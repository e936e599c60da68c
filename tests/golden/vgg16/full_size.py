"""Compares showtell's full-size VGG-16 with torchvision's, and embeds a directory of your own JPEGs.

    pip install torch==2.11.0 torchvision==0.26.0 pyarrow blake3
    python full_size.py path/to/showtell DIRECTORY_OF_JPEGS [--weights FILE] [--compare 12] [--device cuda:0]

Without weights a torchvision vgg16 with random ones is made and saved, in both .pth formats; the
comparison does not need the trained ones. fc7 after its ReLU is compared in fp32 on the first few
images:

- from pixels on, within 1e-3: both get the same 256x256 pixels as PNG, which are decoded without
  loss and cut to 224x224 without resizing;
- from the JPEG file on, within 2e-2: decoders differ.

A deviation is the larger of two: of the one feature that is furthest off, relative to the image's
largest, and of all together, relative to the length of the whole. Then every image has to have its
embedding, once, of 4,096 finite values. Needs about 4 GB of memory. Prints what it found, and fails
where that is not so.
"""

import argparse
import math
import pathlib
import subprocess
import tempfile
import time

import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from blake3 import blake3
from PIL import Image, ImageOps
from torchvision.models import vgg16
from torchvision.transforms import functional as F

DIMENSIONS = 4096


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("showtell", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--weights", type=pathlib.Path, help="of torchvision's layout, .pth")
    parser.add_argument("--compare", type=int, default=12, help="how many images torchvision looks at")
    parser.add_argument("--device", default="auto", help="which showtell computes on, such as cuda:0")
    return parser.parse_args()


def photograph(file):
    return ImageOps.exif_transpose(Image.open(file)).convert("RGB")


def expected(model, square):
    x = F.normalize(F.to_tensor(square), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        return model.classifier[:5](torch.flatten(model.avgpool(model.features(x[None])), 1))[0]


def embed(showtell, directory, out, weights, device):
    """The features that showtell keeps, by the BLAKE3 of their file, and how they name their encoder."""
    command = [showtell, "embed", directory, "--out", out, "--weights", weights]
    subprocess.run([*command, "--device", device, "--precision", "fp32", "--full-precision-cache"], check=True)
    features, encoders = {}, set()
    for part in sorted(out.glob("embeddings/*/*.parquet")):
        table = pq.read_table(part)
        lengths = pc.unique(pc.list_value_length(table["embedding"])).to_pylist()
        assert lengths == [DIMENSIONS], f"{part}: embeddings of {lengths} values"
        for image_id, row in zip(table["image_id"].to_pylist(), table["embedding"].to_numpy()):
            assert image_id not in features, f"{image_id} was embedded twice"
            features[image_id] = torch.tensor(row)
        encoders.add(part.parent.name)
    return features, encoders


def identity(file):
    return blake3(file.read_bytes()).hexdigest()


def deviation(ours, theirs):
    off = ours - theirs
    return max(off.abs().max() / theirs.abs().max(), off.norm() / theirs.norm()).item()


def compare(name, deviations, allowed):
    worst, mean = max(deviations), sum(deviations) / len(deviations)
    print(f"{name}: {len(deviations)} images, largest deviation {worst:.2e}, mean {mean:.2e}, allowed {allowed:.0e}")
    assert worst < allowed, "features differ from torchvision's"


def main():
    options = arguments()
    photographs = sorted(options.directory.rglob("*.jpg"))
    chosen = photographs[: options.compare]
    torch.manual_seed(0)
    model = vgg16().eval()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        zipped = legacy = options.weights
        if options.weights:
            model.load_state_dict(torch.load(options.weights, weights_only=True))
        else:
            zipped, legacy = scratch / "zip.pth", scratch / "legacy.pth"
            torch.save(model.state_dict(), zipped)
            torch.save(model.state_dict(), legacy, _use_new_zipfile_serialization=False)

        squares = scratch / "squares"
        squares.mkdir()
        for file in chosen:
            photograph(file).resize((256, 256)).save(squares / f"{file.stem}.png")
        features, encoders = embed(options.showtell, squares, scratch / "out-squares", legacy, options.device)
        compare(
            "from pixels on",
            [
                deviation(features[identity(file)], expected(model, F.center_crop(photograph(file), 224)))
                for file in squares.iterdir()
            ],
            1e-3,
        )

        started = time.monotonic()
        features, same_encoders = embed(options.showtell, options.directory, scratch / "out", zipped, options.device)
        seconds = time.monotonic() - started
        assert same_encoders == encoders, f"one network, but encoders {encoders} and {same_encoders}"
        compare(
            "from the file on",
            [
                deviation(
                    features[identity(file)],
                    expected(model, F.center_crop(F.resize(photograph(file), 256, antialias=True), 224)),
                )
                for file in chosen
            ],
            2e-2,
        )

        distinct = {identity(file) for file in photographs}
        missing = distinct - features.keys()
        assert not missing, f"{len(missing)} images have no embedding"
        assert all(math.isfinite(row.sum()) for row in features.values()), "a feature is no finite number"
        apart = len({tuple(row.tolist()) for row in features.values()})
        print(
            f"embedded: {len(photographs)} images, {len(distinct)} different ones, "
            f"{len(features)} embeddings of {DIMENSIONS}, {apart} of them different, "
            f"{seconds:.0f} s with loading, {len(photographs) / seconds:.1f} images per second"
        )
        assert apart == len(features), "different images have the same features"


if __name__ == "__main__":
    main()
