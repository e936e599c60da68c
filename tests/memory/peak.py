"""Sees that the peak memory of a run does not depend on how many images there are.

    python tests/memory/peak.py path/to/showtell DIRECTORY_OF_JPEGS [--few 600] [--many 6000] [--model DIR]
                                [--rounds 1]

Annotates few and many copies of the images, all of different contents: a byte more behind the end
of a JPEG shows nothing. Prints both peaks of each round, after several rounds the median and the range
of what the many take more, and ends with a status other than 0 if in any round it was more than a
twentieth. What is allowed to grow with the archive, 100 bytes or so per image, is far below that. Linux
only, since other systems count otherwise.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

MIB = 1 << 20


def copies(images):
    """Endlessly: names and contents, each different."""
    number = 0
    while True:
        for name, content in images:
            yield f"{number // 1000:04}/{number:08}-{name}", content + number.to_bytes(8, "big")
            number += 1


def make_archive(images, count, directory):
    for name, content in islice(copies(images), count):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def peak(showtell, model, archive, out):
    """The most memory that annotating the archive takes, in bytes."""
    # Copies have few captions, which a guard would take for a fault.
    command = [showtell, "annotate", "--quiet", "--accept", "--model", model, "--out", out, archive]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"showtell annotate ended with {process.returncode}")
    shutil.rmtree(out)
    return used.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("showtell", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--few", type=int, default=600)
    parser.add_argument("--many", type=int, default=6000)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if sys.platform != "linux":
        print("NOT RUN: peak memory is compared on Linux alone")
        return
    images = [(path.name, path.read_bytes()) for path in sorted(options.images.rglob("*.jpg"))]
    if not images:
        sys.exit(f"there is no .jpg below {options.images}")
    if options.rounds < 1:
        sys.exit("--rounds has to be 1 or more")
    counts = options.few, options.many
    grown = []
    with tempfile.TemporaryDirectory() as scratch:
        archives = [Path(scratch) / f"{count}" for count in counts]
        for archive, count in zip(archives, counts, strict=True):
            make_archive(images, count, archive)
        for _ in range(options.rounds):
            out = Path(scratch) / "out"
            few, many = (peak(options.showtell.resolve(), options.model, archive, out) for archive in archives)
            grown.append(many / few - 1)
            print(
                f"peak memory: {options.few} images {few / MIB:.0f} MiB, "
                f"{options.many} images {many / MIB:.0f} MiB, {grown[-1]:+.1%}",
                flush=True,
            )
    if options.rounds > 1:
        median = statistics.median(grown)
        print(f"{options.rounds} rounds: {median:+.1%} in the median, {min(grown):+.1%} to {max(grown):+.1%}")
    if max(grown) > 0.05:
        sys.exit("peak memory grows with the number of images")


if __name__ == "__main__":
    main()
