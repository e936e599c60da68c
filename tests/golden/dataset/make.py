"""What pandas, pycocotools and numpy read from small data sets: the reference for `dataset`.

Run with numpy 2.4, pandas 3.1 and pycocotools 2.0:  python make.py

Writes the data sets beside itself, and what was read from them into expected.json.
"""

import collections
import csv
import json
import random
import string
from pathlib import Path

import numpy as np
import pandas as pd
from pycocotools.coco import COCO

HERE = Path(__file__).parent
AWKWARD = [
    "A dog .",
    "A man , a plan , a canal",
    'A sign that says "STOP" .',
    '"Quoted from end to end"',
    "Two lines\nof one caption",
    "And\r\nof Windows",
    "Crème brûlée 日本語 ☃",
    "It 's a 12\" pizza",
    "a\ttab",
    "#0 , #1",
]
WORDS = "a the dog dogs boy girl red blue ball beach runs jumps over with in on . , 's tri-colored".split()


def write_csv():
    rows = [(f"{n // 2}.jpg", caption, n) for n, caption in enumerate(AWKWARD)]
    for name, end, quoting in [
        ("minimal.csv", "\n", csv.QUOTE_MINIMAL),
        ("quoted.csv", "\r\n", csv.QUOTE_ALL),
    ]:
        with open(HERE / name, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=quoting, lineterminator=end)
            writer.writerow(["image", "caption", "comment_number"])
            writer.writerows(rows)


def read_csv(name):
    table = pd.read_csv(HERE / name, dtype=str, keep_default_na=False, encoding="utf-8")
    return [[image, caption] for image, caption in zip(table["image"], table["caption"])]


def write_coco():
    images = [{"license": 1, "file_name": f"COCO_val2014_{n:012}.jpg", "id": n} for n in (9, 5, 7)]
    annotations = [
        {"image_id": images[n % 2]["id"], "id": 100 + n, "caption": caption}
        for n, caption in enumerate(AWKWARD)
    ]
    coco = {"info": {"year": 2014}, "licenses": [], "annotations": annotations, "images": images}
    (HERE / "captions_val2014.json").write_text(json.dumps(coco))


def read_coco():
    coco = COCO(HERE / "captions_val2014.json")
    return {
        image["file_name"]: [a["caption"] for a in coco.imgToAnns[image["id"]]]
        for image in coco.loadImgs(coco.getImgIds())
    }


def write_matrices():
    values = np.random.default_rng(1).standard_normal((5, 3)) * 10.0 ** np.arange(-2, 1)
    for name, dtype, version in [
        ("f16.npy", "<f2", (1, 0)),
        ("f32.npy", "<f4", (1, 0)),
        ("f64.npy", "<f8", (2, 0)),
    ]:
        with open(HERE / name, "wb") as file:
            np.lib.format.write_array(file, values.astype(dtype), version=version)
    np.save(HERE / "fortran.npy", np.asfortranarray(values.astype("<f4")))
    np.save(HERE / "big-endian.npy", values.astype(">f4"))
    np.save(HERE / "integers.npy", values.astype("<i8"))


def read_matrix(name):
    # As bits, for they have to be the same to the last.
    return np.load(HERE / name, "r").astype("<f4").view("<u4").tolist()


def write_tokens():
    dice = random.Random(2)
    weights = [1 / (1 + n) for n in range(len(WORDS))]
    with open(HERE / "captions.token", "w") as file:
        for image in range(60):
            for number in range(5):
                words = dice.choices(WORDS, weights, k=1 + min(int(dice.expovariate(0.15)), 30))
                file.write(f"{image}.jpg#{number}\t{' '.join(words).capitalize()}\n")


def vocabulary(captions):
    counts = collections.Counter(word for words in captions for word in words)
    total = sum(counts.values())
    sizes = []
    for threshold in (1, 2, 3, 4, 5, 10, 30):
        kept = [count for count in counts.values() if count >= threshold]
        sizes.append({"at_least": threshold, "words": len(kept), "coverage": sum(kept) / total})
    return sizes


def read_tokens():
    lines = (HERE / "captions.token").read_text().splitlines()
    captions = [line.split("\t")[1].lower() for line in lines]
    spaces = [caption.split() for caption in captions]
    stripped = [
        "".join(c for c in caption if c not in string.punctuation).split() for caption in captions
    ]
    lengths = [len(words) for words in spaces]
    return {
        "captions": len(captions),
        "tutorial": vocabulary(spaces),
        "neuraltalk": vocabulary(stripped),
        "lengths": {
            "min": int(np.min(lengths)),
            "median": float(np.median(lengths)),
            "mean": float(np.mean(lengths)),
            "percentile_95": int(np.percentile(lengths, 95, method="inverted_cdf")),
            "max": int(np.max(lengths)),
        },
        "repeated": len(captions) - len({line.split("\t")[1] for line in lines}),
    }


def main():
    write_csv()
    write_coco()
    write_matrices()
    write_tokens()
    expected = {
        "csv": {name: read_csv(name) for name in ("minimal.csv", "quoted.csv")},
        "coco": read_coco(),
        "matrices": {name: read_matrix(name) for name in ("f16.npy", "f32.npy", "f64.npy")},
        "tokens": read_tokens(),
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
