"""Writes the same reference values for the whole of Flickr8k, which cannot be kept here.

python flickr8k.py Flickr8k.token.txt FOLDER, then SHOWTELL_EVALUATION=FOLDER cargo test --test it evaluation

The first caption of each image is the candidate, the others are its references.
"""

import json
import sys
from pathlib import Path

import metrics
import tokens


def main(token_file, folder):
    lines = token_file.read_text(encoding="utf-8").split("\n")[:-1]
    pairs = [line.split("\t") for line in lines]
    by_image = {}
    for name, caption in pairs:
        by_image.setdefault(name.rsplit("#", 1)[0], []).append(caption)
    numbered = list(enumerate(by_image.items()))
    references = {
        "images": [{"id": i, "file_name": name} for i, (name, _) in numbered],
        "annotations": [
            {"image_id": i, "caption": caption} for i, (_, all) in numbered for caption in all[1:]
        ],
    }
    candidates = [{"image_id": i, "caption": all[0]} for i, (_, all) in numbered]
    folder.mkdir(parents=True, exist_ok=True)
    captions = "".join(caption + "\n" for _, caption in pairs)
    (folder / "captions.txt").write_text(captions, encoding="utf-8")
    (folder / "references.json").write_text(json.dumps(references), encoding="utf-8")
    (folder / "candidates.json").write_text(json.dumps(candidates), encoding="utf-8")
    tokens.main(folder)
    metrics.main(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
