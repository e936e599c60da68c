"""What torchvision makes of pictures of many shapes: the reference for `Preprocess`.

Run with torchvision 0.26, Pillow 13 and numpy:  python make.py > torchvision.json

The pictures are drawn by arithmetic, here as in the test. Each case keeps the mean of every channel
and 80 pixels of the square, at places that a linear congruence walks through.
"""

import json

import numpy as np
from PIL import Image
from torchvision import transforms

SIZES = [
    (640, 480), (480, 640), (333, 257), (257, 333), (1000, 300), (301, 1001), (256, 256), (224, 224),
    (255, 400), (1501, 1500), (57, 41), (8, 8), (5, 3), (1, 1), (40, 1), (3, 100), (258, 511), (4000, 31),
]
CASES = [("short-side", 256, 224), ("short-side", 112, 112), ("short-side", 342, 299), ("stretch", 256, 224)]


def picture(width, height):
    """Fine texture over a slope, so that a filter of the wrong width or place shows."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    levels = [((x * 7 + y * 3 + 85 * c) ^ ((x * y) >> (3 + c))) & 255 for c in range(3)]
    slope = (x * 255) // width
    return Image.fromarray(np.stack([(level + slope) // 2 for level in levels], -1).astype(np.uint8))


def places(crop):
    seed = 12345
    for _ in range(80):
        seed = (seed * 1103515245 + 12345) % 2**31
        yield seed // crop % crop, seed % crop


def main():
    lines = []
    for mode, size, crop in CASES:
        wanted = size if mode == "short-side" else (size, size)
        prepare = transforms.Compose(
            [transforms.Resize(wanted, antialias=True), transforms.CenterCrop(crop)]
        )
        for width, height in SIZES if (size, mode) == (256, "short-side") else SIZES[:3] + SIZES[10:12]:
            square = np.asarray(prepare(picture(width, height)))
            assert square.shape == (crop, crop, 3)
            case = {
                "mode": mode, "size": size, "crop": crop, "width": width, "height": height,
                "mean": [round(float(square[..., c].mean()), 3) for c in range(3)],
                "pixels": "".join(bytes(square[y, x]).hex() for y, x in places(crop)),
            }
            lines.append(json.dumps(case))
    print("[\n" + ",\n".join(lines) + "\n]")


if __name__ == "__main__":
    main()
