#!/usr/bin/env python3
"""Learns all captioners from drawn scenes, with a frozen and a tuned encoder, and compares them.

Draws scenes to learn from (with --bias, the setting follows from the object in that share of them) and
others, without bias, that none of them sees; learns the recipes pipelines/scenes-*.toml; captions the
unseen scenes greedily and by beam search; prints Markdown tables. What is there already is not done again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

RECIPES = {
    "show-and-tell": "Show and Tell, encoder frozen",
    "show-and-tell-tuned": "Show and Tell, encoder tuned",
    "soft-attention": "soft attention",
    "hard-attention": "hard attention",
}
TRUTHS = ["setting", "kind", "colour", "count", "relation"]
# The seeds of other recipes and of `make truth` are others.
LEARNT, UNSEEN = 31, 424242


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--showtell", required=True, help="the program")
    parser.add_argument("--work", type=Path, required=True, help="directory for all that is made")
    parser.add_argument("--scenes", type=int, default=8000, help="scenes to learn from")
    parser.add_argument("--unseen", type=int, default=1000, help="scenes to measure on")
    parser.add_argument("--bias", default="0.0", help="share of the scenes whose setting follows from the object")
    parser.add_argument("--only", nargs="*", default=list(RECIPES), choices=list(RECIPES))
    chosen = parser.parse_args()
    comparison = Comparison(chosen)
    rows = [comparison.measure(name) for name in chosen.only]
    print(f"Learnt from {chosen.scenes} scenes, bias {chosen.bias}; {chosen.unseen} unseen scenes, without bias.\n")
    print_captions(rows)
    print_expectations(rows)
    print_attention(rows)


class Comparison:
    def __init__(self, chosen):
        self.chosen = chosen
        self.learnt = self.draw(f"scenes-{chosen.bias}", chosen.scenes, LEARNT, chosen.bias)
        self.unseen = self.draw("unseen", chosen.unseen, UNSEEN, "0.0")

    def run(self, *arguments):
        command = [self.chosen.showtell, "--quiet", *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}")
        return done.stdout

    def draw(self, name, count, seed, bias):
        directory = self.chosen.work / name
        if not (directory / "scenes.json").exists():
            print(f"drawing {count} scenes", file=sys.stderr)
            self.run("scenes", "--count", count, "--seed", seed, "--bias", bias, "--out", directory)
        return directory

    def measure(self, name):
        model = self.chosen.work / f"{name}-{self.chosen.bias}"
        if not (model / "model.toml").exists() or Path(f"{model}.training/checkpoint.safetensors").exists():
            print(f"learning {name}", file=sys.stderr)
            self.run(
                "train", "--config", f"pipelines/scenes-{name}.toml", "--output", model,
                "--data", self.learnt / "scenes.json", "--images", self.learnt / "images",
            )  # fmt: skip
        row = {"name": RECIPES[name]}
        for beam in (1, 3):
            out = Path(f"{model}-beam-{beam}")
            self.run("annotate", self.unseen / "images", "--out", out, "--model", model, "--beam", beam)
            references = self.unseen / "scenes.json"
            told = self.run("evaluate", "--references", references, "--candidates", out, "--json")
            row[beam] = json.loads(told)
        if "attention" in name:
            row["attention"] = json.loads(self.run("explain", "--scenes", self.unseen, "--model", model, "--json"))
        return row


def print_captions(rows):
    heads = ["captioner", "beam", "CIDEr-D", "BLEU-4", *TRUTHS, "setting, kind and colour"]
    print_row(heads)
    print_row(["---"] * len(heads))
    for row in rows:
        for beam in (1, 3):
            told = row[beam]
            truths = {tally["name"]: tally for tally in told["truth"]}
            shares = [share(truths[name]) for name in TRUTHS]
            scores = [f"{told['cider_d']:.2f}", f"{100 * told['bleu_4']:.1f}"]
            print_row([row["name"], str(beam), *scores, *shares, f"{100 * told['main_true']:.1f} %"])
    print()


def share(tally):
    """Of the captions that say anything of it; how many do stands behind."""
    said = tally["right"] + tally["wrong"]
    return f"{100 * tally['right'] / said:.1f} % of {said}" if said else "not said"


def print_expectations(rows):
    print_row(["captioner", "says the setting seen", "the one expected", "expected, of the wrong ones"])
    print_row(["---"] * 4)
    for row in rows:
        told = row[3]["expectation"]
        seen = 100 * told["seen"] / max(told["scenes"], 1)
        print_row(
            [
                row["name"],
                f"{seen:.1f} %",
                f"{100 * told['share_expected']:.1f} %",
                f"{100 * told['share_of_wrong']:.1f} %",
            ]
        )
    print()


def print_attention(rows):
    for row in rows:
        if "attention" in row:
            told = row["attention"]
            print(
                f"{row['name']}: looks most at the object that it names in {100 * told['share']:.1f} % of"
                f" {told['words']} words, {100 * told['share_by_chance']:.1f} % by chance"
            )


def print_row(cells):
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
