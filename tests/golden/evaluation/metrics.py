"""Writes metrics.json: candidates.json against references.json, measured by pycocoevalcap 1.2.

Run with pycocoevalcap 1.2 (PyPI) and a Java runtime: python metrics.py [FOLDER]

CIDEr without clipping and length penalty is not in that package; it is computed here from equations 1 and 2 of
arXiv 1411.5726, times ten as CIDEr-D is.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer


def grams(caption, order):
    words = caption.split()
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def original_cider(references, candidates, orders=4):
    """Mean over orders of the mean cosine of tf-idf vectors; one value an image."""
    total = np.zeros(len(references))
    for order in range(1, orders + 1):
        vectors = [[grams(caption, order) for caption in captions] for captions in references.values()]
        documents = Counter(gram for image in vectors for gram in set().union(*image))

        def weigh(counts):
            return {
                gram: times * np.log(len(vectors) / max(1, documents[gram]))
                for gram, times in counts.items()
            }

        def norm(vector):
            return np.sqrt(sum(weight**2 for weight in vector.values()))

        for place, (image, candidate) in enumerate(zip(vectors, candidates.values())):
            a = weigh(grams(candidate[0], order))
            for reference in image:
                b = weigh(reference)
                if norm(a) * norm(b) > 0:
                    dot = sum(weight * b[gram] for gram, weight in a.items() if gram in b)
                    total[place] += dot / (norm(a) * norm(b)) / len(image)
    return 10.0 * total / orders


def main(folder):
    data = json.loads((folder / "references.json").read_text(encoding="utf-8"))
    results = json.loads((folder / "candidates.json").read_text(encoding="utf-8"))
    references = {image["id"]: [] for image in data["images"]}
    for annotation in data["annotations"]:
        references[annotation["image_id"]].append({"caption": annotation["caption"]})
    candidates = {result["image_id"]: [{"caption": result["caption"]}] for result in results}
    candidates = {image: candidates[image] for image in references}

    start = time.time()
    references = PTBTokenizer().tokenize(references)
    candidates = PTBTokenizer().tokenize(candidates)
    tokenized = time.time()
    bleu, bleus = Bleu(4).compute_score(references, candidates, verbose=0)
    rouge, rouges = Rouge().compute_score(references, candidates)
    cider, ciders = Cider().compute_score(references, candidates)
    print(f"tokenized in {tokenized - start:.2f} s, measured in {time.time() - tokenized:.2f} s")

    original = original_cider(references, candidates)
    overall = {
        **{f"bleu_{order + 1}": bleu[order] for order in range(4)},
        "rouge_l": rouge,
        "cider_d": cider,
        "cider_original": original.mean(),
    }
    rows = dict(zip(overall, [*bleus, rouges, ciders, original]))
    content = {
        "overall": {name: float(value) for name, value in overall.items()},
        "per_image": [
            {"image_id": image, **{name: float(values[i]) for name, values in rows.items()}}
            for i, image in enumerate(references)
        ],
    }
    (folder / "metrics.json").write_text(json.dumps(content, indent=0) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
