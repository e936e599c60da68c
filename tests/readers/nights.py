"""Makes a table as a warehouse meets it: by several nights over an archive that changes.

    python tests/readers/nights.py SHOWTELL OUT

Runs the program at SHOWTELL over an archive of its own beside OUT. By the end of it images are new,
changed, touched, copied, renamed, deleted and back, and files fail, fail anew and are mended, under
names and times that are awkward for somebody: quotes, commas, line breaks, what others write for
null, many scripts, bytes that are no UTF-8; before 1970 and after 2038.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
FINE, SOME_FAILED = 0, 1

# Name below the archive, sample, and time in microseconds since 1970.
FIRST_NIGHT = [
    (b"plain.png", "first.png", 1_000_000_000_000_000),
    (b"second.jpg", "second.jpg", 1_700_000_000_123_456),
    (b"it's \"quoted\", twice; \\N.jpg", "phone/IMG_0001.jpg", 1_700_000_000_000_001),
    (b"NULL", "phone/IMG_0002.jpg", 1_600_000_000_999_999),
    (b"{a,b}\tc$$d.gif", "web/drawing.gif", 0),
    (b"line\nbreak\r\n.png", "web/palette.png", -1),
    (b" 100% --.jpg ", "phone/IMG_0003.jpg", -86_400_000_001),
    ("été/Zoë/日本語.webp".encode(), "web/picture.webp", 4_102_444_800_000_007),
    ("été/e\u0301te\u0301.bmp".encode(), "scans/1998/page 2.bmp", 2_147_483_648_000_000),
    ("🐈 ← ‏עברית.png".encode(), "web/cutout.png", 1_500_000_000_500_000),
    (b"latin-1 caf\xe9.tiff", "scans/1998/page 1.tiff", 1_400_000_000_000_010),
    (b"old/tall.jpg", "scans/1999/tall.jpg", 1_300_000_000_000_100),
    (b"old/slide.tga", "scans/1999/slide.tga", 1_300_000_000_001_000),
    (b"old/copy of slide.tga", "scans/1999/slide.tga", 1_300_000_000_010_000),
]


class Archive:
    """Two directories of images, in a scratch directory."""

    def __init__(self, scratch):
        self.photos, self.scans = scratch / "photos", scratch / "scäns"
        for directory in (self.photos, self.scans):
            directory.mkdir(parents=True)

    def path(self, name):
        """`name`: bytes below photos."""
        return os.path.join(os.fsencode(self.photos), name)

    def put(self, name, content, micros):
        """`content`: bytes, or the name of a sample."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if isinstance(content, str):
            content = (SAMPLES / content).read_bytes()
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, ns=(micros * 1000, micros * 1000))


def make_nights(showtell, out, scratch):
    """Runs the nights. `showtell`: the program; `out`: where the table shall be; `scratch`: an empty
    directory for the archive."""
    archive = Archive(scratch)

    def night(exit_code, *options):
        roots = [archive.photos, archive.scans]
        command = [showtell, "annotate", *roots, "--out", out, "--quiet", *options]
        ended = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if ended.returncode != exit_code:
            sys.exit(f"nights.py: {command} ended with {ended.returncode}, not {exit_code}")
        if ended.stdout:
            sys.exit(f"nights.py: a quiet night says {ended.stdout!r}")

    half = (SAMPLES / "second.jpg").read_bytes()[:2000]
    for name, sample, micros in FIRST_NIGHT:
        archive.put(name, sample, micros)
    archive.put(b"cut short, \"so\".jpg", half, 1_700_000_000_000_002)
    archive.put(b"empty.png", b"", 1_700_000_000_000_003)
    archive.put(b"text\xff.jpg", b"no picture\x00at all", 1_700_000_000_000_004)
    archive.put(b"notes.txt", b"no image, and no row", 0)
    for name in ("last.png", "1999/slide.ppm"):
        shutil.copy2(SAMPLES / "scans" / name, archive.scans / Path(name).name)
    night(SOME_FAILED)

    # New, changed, touched, renamed, copied, deleted; one fails from now on, one fails otherwise than
    # before, one no longer does.
    archive.put(b"new, and gone tomorrow.jpg", "phone/IMG_0004.jpg", 1_700_000_001_000_000)
    archive.put(b"second.jpg", "phone/IMG_0005.jpg", 1_700_000_002_000_000)
    archive.put(b"plain.png", "first.png", 1_700_000_003_000_000)
    os.rename(archive.path(b"NULL"), archive.path("ÑULL".encode()))
    archive.put(b"one more.qoi", "web/logo.qoi", 1_700_000_004_000_000)
    archive.put(b"one more copy.qoi", "web/logo.qoi", 1_700_000_004_000_000)
    os.remove(archive.path(b"{a,b}\tc$$d.gif"))
    archive.put("🐈 ← ‏עברית.png".encode(), half, 1_700_000_005_000_000)
    archive.put(b"cut short, \"so\".jpg", half[:1000], 1_700_000_005_500_000)
    archive.put(b"empty.png", "web/palette.png", 1_700_000_006_000_000)
    night(SOME_FAILED)

    # Other decode parameters: all captions again, and more beams of each.
    night(SOME_FAILED, "--beam", "5")

    # Nothing has changed: a run without rows.
    night(SOME_FAILED, "--beam", "5")

    # One is back as it was; what was new is gone, and so is what failed.
    archive.put(b"{a,b}\tc$$d.gif", "web/drawing.gif", 0)
    os.remove(archive.path(b"new, and gone tomorrow.jpg"))
    os.remove(archive.path(b"text\xff.jpg"))
    os.remove(archive.path(b"cut short, \"so\".jpg"))
    archive.put("🐈 ← ‏עברית.png".encode(), "web/banner.jpg", 1_700_000_007_000_000)
    night(FINE, "--beam", "5")

    # The last night fails one anew, so that there are failures to be found.
    archive.put(b"late.gif", b"GIF89a", 1_700_000_008_000_000)
    archive.put(b"old/tall.jpg", half, 1_700_000_009_000_000)
    os.remove(archive.scans / "last.png")
    night(SOME_FAILED, "--beam", "5")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    out = Path(sys.argv[2])
    make_nights(Path(sys.argv[1]), out, out.with_name(out.name + "-archive"))


if __name__ == "__main__":
    main()
