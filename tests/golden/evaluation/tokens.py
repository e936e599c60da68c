"""Writes tokens.txt: captions.txt as the COCO evaluation's tokenizer splits it, one caption a line.

Run with pycocoevalcap 1.2 (PyPI) and a Java runtime: python tokens.py [FOLDER]
A short caption follows each one, because the tokenizer looks at what comes next.
"""

import sys
from pathlib import Path

from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer


def main(folder):
    captions = (folder / "captions.txt").read_text(encoding="utf-8").split("\n")[:-1]
    tokens = PTBTokenizer().tokenize(
        {i: [{"caption": caption}, {"caption": "A dog"}] for i, caption in enumerate(captions)}
    )
    lines = "".join(tokens[i][0] + "\n" for i in range(len(captions)))
    (folder / "tokens.txt").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
