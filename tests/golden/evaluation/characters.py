"""Prints src/evaluation/tokenizer/ranges.rs: what the COCO evaluation's tokenizer does with each character.

Run with pycocoevalcap 1.2 (PyPI) and a Java runtime: python characters.py > ranges.rs
Every character of the basic plane beyond ASCII is given to the tokenizer in four surroundings.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import pycocoevalcap

FOLDER = Path(pycocoevalcap.__path__[0]) / "tokenizer"
# Line ends, the byte order mark and surrogates would shift the lines.
CHARACTERS = [c for c in range(0x80, 0x10000) if not 0xD800 <= c <= 0xDFFF]
CHARACTERS = [c for c in CHARACTERS if c not in (0x85, 0x2028, 0x2029, 0xFEFF)]
# Told apart in code: soft hyphen, hyphens, dashes, ellipsis and quotation marks.
ELSEWHERE = {0xAD, 0x58A, 0x2010, 0x2011, 0x96, 0x97, 0x2013, 0x2014, 0x2015, 0x2026}
ELSEWHERE |= {0x91, 0x92, 0x93, 0x94, 0xAB, 0xBB, 0x2018, 0x2019, 0x201B, 0x201C, 0x201D, 0x2039, 0x203A}


def tokens(surroundings):
    """Tokens of each character in place of the @."""
    lines = "\n".join(surroundings.replace("@", chr(c)) for c in CHARACTERS)
    with tempfile.NamedTemporaryFile("wb", delete=False) as file:
        file.write(lines.encode())
    command = ["java", "-cp", FOLDER / "stanford-corenlp-3.4.1.jar"]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", file.name]
    output = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    os.remove(file.name)
    split = [line.split(" ") for line in output.split("\n")[: len(CHARACTERS)]]
    assert len(split) == len(CHARACTERS)
    return split


def ranges(characters):
    runs = []
    for c in characters:
        if runs and runs[-1][1] == c - 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    return runs


def table(name, doc, characters):
    runs = ranges(characters)
    lines, line = [], "   "
    for first, last in runs:
        item = f" (0x{first:x}, 0x{last:x}),"
        if len(line + item) > 100:
            lines.append(line)
            line = "   "
        line += item
    lines.append(line)
    head = f"\n/// {doc}\n#[rustfmt::skip]\npub(super) const {name}: [(u16, u16); {len(runs)}] = [\n"
    return head + "\n".join(lines) + "\n];"


def main():
    inside, alone, after, hyphenated = map(tokens, ["aa@bb", "zz @ zz", "zz a!@ zz", "aa@b-aa zz"])
    letters, marks, symbols = [], [], []
    for i, c in enumerate(CHARACTERS):
        joins = len(inside[i]) == 1 and len(inside[i][0]) > 4
        if c in ELSEWHERE:
            continue
        if joins and len(hyphenated[i]) != 2:
            marks.append(c)
        elif joins and len(after[i]) == 3:
            letters.append(c)
        elif not joins and len(alone[i]) == 3:
            symbols.append(c)
    print(
        """//! Which characters beyond ASCII belong to which class: first and last of each range.
//!
//! Plain data, apart from the code that asks it. Found by giving every character of the basic plane to
//! the reference tokenizer, alone and between letters and digits (`tests/golden/evaluation/characters.py`);
//! what stands in no table is dropped there and separates tokens."""
    )
    print(table("LETTERS", "Join into words and hyphenated words.", letters))
    print(table("MARKS", "Join into words, not into hyphenated words.", marks))
    print(table("SYMBOLS", "Tokens of their own.", symbols))


main()
