"""Sees that the peak memory of a run does not depend on how many images there are.

    python tests/memory/peak.py path/to/showtell DIRECTORY_OF_JPEGS [--few 600] [--many 6000] [--model DIR]

Annotates few and many copies of the images, all of different contents: a byte more behind the end
of a JPEG shows nothing. Prints both peaks, and ends with a status other than 0 if that of the many
is more than a twentieth above that of the few. What is allowed to grow with the archive, 100 bytes
or so per image, is far below that. Linux only, since other systems count otherwise.
"""

import argparse
import os
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


def peak(showtell, model, images, count, scratch):
    """The most memory that annotating so many images takes, in bytes."""
    archive, out = scratch / f"{count}", scratch / f"{count}-out"
    for name, content in islice(copies(images), count):
        path = archive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    # Copies have few captions, which a guard would take for a fault.
    command = [showtell, "annotate", "--quiet", "--accept", "--model", model, "--out", out, archive]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"showtell annotate ended with {process.returncode}")
    return used.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("showtell", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--few", type=int, default=600)
    parser.add_argument("--many", type=int, default=6000)
    parser.add_argument("--model", default="demo")
    options = parser.parse_args()
    if sys.platform != "linux":
        print("NOT RUN: peak memory is compared on Linux alone")
        return
    images = [(path.name, path.read_bytes()) for path in sorted(options.images.rglob("*.jpg"))]
    if not images:
        sys.exit(f"there is no .jpg below {options.images}")
    with tempfile.TemporaryDirectory() as scratch:
        few, many = (
            peak(options.showtell.resolve(), options.model, images, count, Path(scratch))
            for count in (options.few, options.many)
        )
    grown = f"{many / few - 1:+.1%}"
    print(f"peak memory: {options.few} images {few / MIB:.0f} MiB, {options.many} images {many / MIB:.0f} MiB, {grown}")
    if many > few * 1.05:
        sys.exit("peak memory grows with the number of images")


if __name__ == "__main__":
    main()
