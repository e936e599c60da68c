#!/usr/bin/env python3
"""Measures a first and an unchanged second night over very many files.

The archive is made of hard links to a thousand drawn pictures, in directories of a thousand, so that
it takes little space and yet every file is walked, read, identified and written as a row.

    scripts/million.py --showtell target/release/showtell [--files 1000000] [--compare 10000]

Prints time and peak memory of each night, and how much the first night's memory grows with the files.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

PICTURES = 1000
IN_A_DIRECTORY = 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--showtell", type=pathlib.Path, required=True)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--compare", type=int, default=10_000, help="files of the small archive")
    parser.add_argument("--scratch", type=pathlib.Path, help="a directory with room for it all")
    arguments = parser.parse_args()
    showtell = arguments.showtell.resolve()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="million-", dir=arguments.scratch))
    try:
        scenes = [showtell, "scenes", "--count", PICTURES, "--seed", 3, "--size", 64, "--out", scratch / "scenes"]
        subprocess.run([str(word) for word in scenes], check=True, stdout=subprocess.DEVNULL)
        pictures = sorted((scratch / "scenes" / "images").iterdir())
        print(f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}")
        print(f"{'files':>9}  {'night':<9}{'seconds':>9}{'peak MiB':>10}{'table MiB':>11}")
        first = {}
        for files in (arguments.compare, arguments.files):
            archive, out = scratch / f"archive-{files}", scratch / f"out-{files}"
            link(pictures, archive, files)
            for night in ("first", "unchanged"):
                seconds, peak = annotate(showtell, archive, out)
                check(out, files, night)
                table = (out / "captions.arrow").stat().st_size
                print(f"{files:>9}  {night:<9}{seconds:>9.1f}{peak / 2**20:>10.0f}{table / 2**20:>11.0f}", flush=True)
                if night == "first":
                    first[files] = peak
        more = arguments.files - arguments.compare
        if more > 0:
            grown = (first[arguments.files] - first[arguments.compare]) / more
            print(f"the first night's memory grows by {grown:.0f} bytes a file")
    finally:
        shutil.rmtree(scratch)


def link(pictures, archive, files):
    """Hard links, `IN_A_DIRECTORY` in each directory."""
    for number in range(files):
        directory = archive / f"{number // IN_A_DIRECTORY:05}"
        if number % IN_A_DIRECTORY == 0:
            directory.mkdir(parents=True)
        picture = pictures[number % len(pictures)]
        os.link(picture, directory / f"{number % IN_A_DIRECTORY:05}{picture.suffix}")


def annotate(showtell, archive, out):
    """Seconds that a run took, and the most memory that it held, in bytes."""
    began = time.monotonic()
    command = [str(showtell), "annotate", str(archive), "--out", str(out), "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.monotonic() - began, usage.ru_maxrss * 1024


def check(out, files, night):
    """That the night did what it is measured for."""
    summary = json.loads(max((out / "runs").iterdir()).read_text())
    counts = summary["counts"]
    done = "captioned" if night == "first" else "unchanged"
    if counts["found"] != files or counts[done] != files:
        sys.exit(f"{files} files should be {done}, not {counts}")


if __name__ == "__main__":
    main()
