"""Writes one small picture in every kind of file, and what Pillow shows for each.

Run with Pillow 13, numpy, and jpegtran and cjpeg of libjpeg-turbo:  python make.py

`NAME.EXT` is the file, `NAME.rgb` its pixels `[height, width, 3]` as Pillow shows them (upright,
over white), and `manifest.json` has per file its size and how far a level may be off: 0 where the
format loses nothing, a few where decoders round differently. Files whose pixels are the same as
those of a file before share its `.rgb`.
"""

import io
import json
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
WIDTH, HEIGHT = 18, 11

manifest = []
known = {}


def picture(width=WIDTH, height=HEIGHT):
    """Smooth colours, a hard edge, and no symmetry, so that a wrong turn shows."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 255 * x / (width - 1)
    green = 255 * y / (height - 1)
    blue = 128 + 100 * np.sin(x / 3) * np.cos(y / 4)
    rgb = np.stack([red, green, blue], -1)
    rgb[: height // 3, : width // 4] = (250, 20, 30)
    return Image.fromarray(rgb.round().astype(np.uint8))


def alpha():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(((x * 12 + y * 5) % 256).astype(np.uint8))


def shown(path):
    """The picture as a viewer shows it, by Pillow."""
    image = Image.open(path)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        levels = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        white.alpha_composite(image)
        image = white
    return image.convert("RGB")


def keep(name, tolerance, content, expected=None):
    """Stores a file with what Pillow shows for it, or what `expected` says where Pillow cannot."""
    path = HERE / name
    path.write_bytes(content)
    image = expected if expected is not None else shown(path)
    pixels = np.asarray(image.convert("RGB")).tobytes()
    rgb = known.setdefault((image.size, pixels), path.stem + ".rgb")
    (HERE / rgb).write_bytes(pixels)
    manifest.append(
        {"file": name, "width": image.width, "height": image.height, "rgb": rgb, "tolerance": tolerance}
    )


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(pixels, color, depth, interlace=False, palette=None, chunks=()):
    """A PNG that Pillow does not write: 16 bits, a few bits, interlaced."""
    height, width = pixels.shape[:2]

    def rows(part):
        if part.size == 0:
            return b""
        lines = []
        for line in part:
            if depth == 16:
                lines.append(b"\0" + line.astype(">u2").tobytes())
            elif depth == 8:
                lines.append(b"\0" + line.astype(np.uint8).tobytes())
            else:
                bits = np.unpackbits(line.astype(np.uint8)[:, None], axis=1)[:, -depth:]
                lines.append(b"\0" + np.packbits(bits.reshape(-1)).tobytes())
        return b"".join(lines)

    if interlace:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        data = b"".join(rows(pixels[top::down, left::right]) for top, left, down, right in passes)
    else:
        data = rows(pixels)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlace))
    body = chunk(b"IHDR", header)
    if palette is not None:
        body += chunk(b"PLTE", palette)
    body += b"".join(chunk(kind, content) for kind, content in chunks)
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def tiff(indices, bits, photometric, palette=()):
    """A big-endian TIFF of one strip that Pillow does not write: 1, 2 or 4 bits."""
    height, width = indices.shape
    lines = []
    for line in indices:
        unpacked = np.unpackbits(line.astype(np.uint8)[:, None], axis=1)[:, -bits:]
        lines.append(np.packbits(unpacked.reshape(-1)).tobytes())
    strip = b"".join(lines)
    colours = np.asarray(palette, np.uint16).reshape(-1, 3).T.reshape(-1) * 257
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
            (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(strip))]
    strip += b"\0" * (len(strip) % 2)
    map_at = 8 + len(strip)
    directory = map_at + 2 * len(colours)
    entries = [struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
               for tag, kind, value in tags]
    if len(colours):
        entries.append(struct.pack(">HHII", 320, 3, len(colours), map_at))
    body = struct.pack(">H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    return b"MM\0*" + struct.pack(">I", directory) + strip + colours.astype(">u2").tobytes() + body


def jpegs(rgb):
    for name, sampling in [("444", 0), ("422", 1), ("420", 2)]:
        keep(f"jpeg-{name}.jpg", 8, saved(rgb, "JPEG", quality=90, subsampling=sampling))
        keep(
            f"jpeg-progressive-{name}.jpg",
            8,
            saved(rgb, "JPEG", quality=90, subsampling=sampling, progressive=True),
        )
    keep("jpeg-grey.jpg", 2, saved(rgb.convert("L"), "JPEG", quality=90))
    keep("jpeg-grey-progressive.jpg", 2, saved(rgb.convert("L"), "JPEG", quality=90, progressive=True))
    keep("jpeg-rgb.jpg", 2, saved(rgb, "JPEG", quality=90, keep_rgb=True))
    keep("jpeg-restart.jpg", 8, saved(rgb, "JPEG", quality=90, restart_marker_blocks=1))
    keep("jpeg-optimized.jpg", 8, saved(rgb, "JPEG", quality=60, optimize=True))
    cmyk = saved(rgb.convert("CMYK"), "JPEG", quality=95)
    keep("jpeg-cmyk.jpg", 2, cmyk)
    adobe = cmyk.index(b"Adobe")
    assert cmyk[adobe + 11] == 0, "colour transform of a CMYK file"
    # The same samples, said to be YCCK: other colours, and the way through the other conversion.
    keep("jpeg-ycck.jpg", 4, cmyk[: adobe + 11] + b"\x02" + cmyk[adobe + 12 :])
    keep("jpeg-cmyk-separate-scans.jpg", 2, one_scan_per_component(cmyk, 4))
    for kind in ["", "-progressive"]:
        keep(f"jpeg-fine-chroma{kind}.jpg", 8, with_fine_chroma(rgb, kind))
    plain = saved(rgb, "JPEG", quality=90)
    keep("jpeg-separate-scans.jpg", 8, one_scan_per_component(plain, 3))
    keep("jpeg-trailing-garbage.jpg", 8, plain + b"and then some" * 20)
    keep("jpeg-no-end-marker.jpg", 8, plain[:-2], shown_bytes(plain))
    keep("jpeg-garbage-between-headers.jpg", 8, plain[:20] + b"\0" * 12 + plain[20:], shown_bytes(plain))


def one_scan_per_component(content, components):
    """A sequential JPEG whose colours come one after another, as some cameras and scanners write."""
    scans = HERE / "scratch"
    scans.write_text("".join(f"{component};\n" for component in range(components)))
    done = subprocess.run(["jpegtran", "-scans", str(scans)], input=content, capture_output=True, check=True)
    scans.unlink()
    return done.stdout


def with_fine_chroma(rgb, kind):
    """A JPEG of which not the first component has the most samples."""
    command = ["cjpeg", "-quality", "90", "-sample", "1x1,2x2,1x2", *([kind] if kind else [])]
    done = subprocess.run(command, input=saved(rgb, "PPM"), capture_output=True, check=True)
    return done.stdout


def shown_bytes(content):
    path = HERE / "scratch"
    path.write_bytes(content)
    image = shown(path)
    path.unlink()
    return image


def pngs(rgb):
    levels = np.asarray(rgb)
    grey = np.asarray(rgb.convert("L"))
    rgba = rgb.copy()
    rgba.putalpha(alpha())
    la = rgb.convert("L")
    la.putalpha(alpha())
    keep("png-rgb.png", 0, saved(rgb, "PNG"))
    keep("png-rgba.png", 1, saved(rgba, "PNG"))
    keep("png-grey.png", 0, saved(rgb.convert("L"), "PNG"))
    keep("png-grey-alpha.png", 1, saved(la, "PNG"))
    keep("png-bilevel.png", 0, saved(rgb.convert("1"), "PNG"))
    indexed = rgb.quantize(13)
    keep("png-palette.png", 0, saved(indexed, "PNG"))
    keep("png-palette-one-transparent.png", 1, saved(indexed, "PNG", transparency=2))
    keep("png-palette-alpha.png", 1, saved(indexed, "PNG", transparency=bytes(range(0, 260, 20))))
    keep("png-key-colour.png", 0, saved(rgb, "PNG", transparency=(250, 20, 30)))
    keep("png-interlaced.png", 0, png(levels, 2, 8, interlace=True), rgb)
    keep("png-interlaced-2-bit.png", 0, png(grey >> 6, 0, 2, interlace=True), Image.fromarray((grey >> 6) * 85))
    # The low byte is noise, which rounding may or may not carry into the level.
    low = (levels.astype(np.int64) * 7) % 256
    keep("png-rgb-16-bit.png", 1, png(levels.astype(np.int64) * 256 + low, 2, 16), rgb)
    deep = np.concatenate([levels, np.asarray(alpha())[..., None]], -1).astype(np.int64) * 257
    keep("png-rgba-16-bit.png", 1, png(deep, 6, 16), shown_bytes(saved(rgba, "PNG")))
    keep("png-grey-16-bit.png", 1, png(grey.astype(np.int64) * 257, 0, 16), rgb.convert("L"))
    keep("png-4-bit-palette.png", 0, png(grey >> 4, 3, 4, palette=bytes(range(0, 240, 5))),
         Image.fromarray(np.frombuffer(bytes(range(0, 240, 5)), np.uint8).reshape(16, 3)[grey >> 4]))
    second = saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)], duration=100)
    keep("png-animated.png", 0, second, rgb)


def others(rgb):
    rgba = rgb.copy()
    rgba.putalpha(alpha())
    indexed = rgb.quantize(29)
    grey = rgb.convert("L")
    turned = rgb.rotate(180)

    keep("gif.gif", 0, saved(indexed, "GIF"))
    keep("gif-animated.gif", 0, saved(indexed, "GIF", save_all=True, append_images=[turned.quantize(20)], duration=80))
    keep("gif-transparent.gif", 0, saved(indexed, "GIF", transparency=3))
    corner = saved(indexed.crop((0, 0, 9, 6)), "GIF")
    # A canvas larger than the first frame, which then stands away from the corner.
    canvas = bytearray(corner)
    canvas[6:10] = struct.pack("<HH", WIDTH, HEIGHT)
    frame = canvas.index(b"\x2c\0\0\0\0\x09\0\x06\0")
    canvas[frame + 1 : frame + 5] = struct.pack("<HH", 5, 4)
    white = Image.new("RGB", rgb.size, "white")
    white.paste(indexed.crop((0, 0, 9, 6)).convert("RGB"), (5, 4))
    keep("gif-small-frame.gif", 0, bytes(canvas), white)

    keep("webp-lossy.webp", 2, saved(rgb, "WEBP", quality=90))
    keep("webp-lossy-alpha.webp", 2, saved(rgba, "WEBP", quality=90))
    keep("webp-lossless.webp", 0, saved(rgb, "WEBP", lossless=True))
    keep("webp-lossless-alpha.webp", 1, saved(rgba, "WEBP", lossless=True, exact=True))
    keep("webp-animated.webp", 0,
         saved(rgb, "WEBP", lossless=True, save_all=True, append_images=[turned], duration=90))
    keep("webp-animated-alpha.webp", 1,
         saved(rgba, "WEBP", lossless=True, exact=True, save_all=True, append_images=[turned], duration=90))

    keep("bmp-24-bit.bmp", 0, saved(rgb, "BMP"))
    keep("bmp-32-bit.bmp", 0, saved(rgb.convert("RGBA"), "BMP"))
    keep("bmp-8-bit.bmp", 0, saved(indexed, "BMP"))
    keep("bmp-grey.bmp", 0, saved(grey, "BMP"))
    keep("bmp-bilevel.bmp", 0, saved(rgb.convert("1"), "BMP"))
    down = bytearray(saved(rgb.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP"))
    down[22:26] = struct.pack("<i", -HEIGHT)
    keep("bmp-top-down.bmp", 0, bytes(down))

    rows = b"".join(b"".join(bytes([1, index]) for index in line) + b"\0\0" for line in np.asarray(indexed)[::-1])
    head = bytearray(saved(indexed, "BMP"))
    pixels_at = struct.unpack_from("<I", head, 10)[0]
    head[30:34] = struct.pack("<I", 1)
    head[34:38] = struct.pack("<I", len(rows) + 2)
    keep("bmp-run-length.bmp", 0, bytes(head[:pixels_at]) + rows + b"\0\1")
    five = (np.asarray(rgb).astype(np.uint16) >> 3) @ np.array([1 << 10, 1 << 5, 1], np.uint16)
    head = bytearray(saved(rgb, "BMP")[:54])
    head[28:30] = struct.pack("<H", 16)
    keep("bmp-16-bit.bmp", 1, bytes(head) + five[::-1].astype("<u2").tobytes())

    for name, image, options in [
        ("rgb", rgb, {}),
        ("rgb-lzw", rgb, {"compression": "tiff_lzw"}),
        ("rgb-deflate", rgb, {"compression": "tiff_adobe_deflate"}),
        ("rgb-packbits", rgb, {"compression": "packbits"}),
        ("grey", grey, {}),
        ("rgba", rgba, {}),
        ("bilevel", rgb.convert("1"), {}),
        ("bilevel-fax", rgb.convert("1"), {"compression": "group4"}),
        ("palette", indexed, {}),
        ("cmyk", rgb.convert("CMYK"), {}),
        ("big", rgb, {"big_tiff": True}),
        ("pages", rgb, {"save_all": True, "append_images": [turned]}),
        ("jpeg", rgb, {"compression": "jpeg", "quality": 90}),
        ("jpeg-ycbcr", rgb.convert("YCbCr"), {"compression": "jpeg", "quality": 90}),
        ("grey-16-bit", Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), {}),
    ]:
        tolerance = {"rgba": 1, "jpeg": 3, "jpeg-ycbcr": 3}.get(name, 0)
        keep(f"tiff-{name}.tif", tolerance, saved(image, "TIFF", **options))

    few = grey.quantize(16)
    keep("tiff-palette-4-bit.tif", 0, tiff(np.asarray(few), 4, 3, few.getpalette()[:48]), few)
    keep("tiff-palette-bilevel.tif", 0, tiff(np.asarray(grey) >> 7, 1, 3, [250, 90, 10, 0, 60, 200]),
         Image.fromarray(np.where((np.asarray(grey) >> 7)[..., None] == 0, [250, 90, 10], [0, 60, 200]).astype(np.uint8)))
    keep("tiff-grey-4-bit.tif", 0, tiff(np.asarray(grey) >> 4, 4, 1), Image.fromarray((np.asarray(grey) >> 4) * 17))
    keep("tiff-grey-2-bit-white-is-zero.tif", 0, tiff(3 - (np.asarray(grey) >> 6), 2, 0),
         Image.fromarray((np.asarray(grey) >> 6) * 85))

    ascii_levels = " ".join(map(str, np.asarray(rgb).reshape(-1)))
    keep("pnm-p3.ppm", 0, f"P3 # a comment\n{WIDTH} {HEIGHT}\n255\n{ascii_levels}\n".encode())
    bits = np.asarray(rgb.convert("1"))
    keep("pnm-p1.pbm", 0, f"P1\n{WIDTH} {HEIGHT}\n{' '.join('01'[not bit] for bit in bits.reshape(-1))}\n".encode(),
         rgb.convert("1"))
    keep("pnm-p2.pgm", 0, f"P2\n{WIDTH} {HEIGHT}\n255\n{' '.join(map(str, np.asarray(grey).reshape(-1)))}\n".encode())
    keep("pnm-p4.pbm", 0, saved(rgb.convert("1"), "PPM"))
    keep("pnm-p5.pgm", 0, saved(grey, "PPM"))
    keep("pnm-p6.ppm", 0, saved(rgb, "PPM"))
    keep("pnm-p5-16-bit.pgm", 1, f"P5\n{WIDTH} {HEIGHT}\n65535\n".encode()
         + (np.asarray(grey).astype(np.int64) * 257).astype(">u2").tobytes(), grey)
    keep("pnm-p7.pam", 1, f"P7\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n".encode()
         + np.asarray(rgba).tobytes(), shown_bytes(saved(rgba, "PNG")))

    keep("tga-rgb.tga", 0, saved(rgb, "TGA"))
    keep("tga-rgba.tga", 1, saved(rgba, "TGA"))
    keep("tga-grey.tga", 0, saved(grey, "TGA"))
    keep("tga-palette.tga", 0, saved(indexed, "TGA"))
    keep("tga-run-length.tga", 0, saved(rgb, "TGA", compression="tga_rle"))

    icon = rgba.resize((16, 16))
    keep("ico.ico", 1, saved(icon, "ICO", sizes=[(8, 8), (16, 16)]))
    # Pillow writes a mask that is too short, and reads transparency out of what follows.
    keep("ico-bmp.ico", 1, saved(icon.convert("RGB"), "ICO", sizes=[(8, 8), (16, 16)], bitmap_format="bmp"),
         icon.convert("RGB"))
    inside = saved(icon.convert("RGB"), "PNG")
    keep("ico-png-without-alpha.ico", 0, struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 24, len(inside), 22) + inside)
    keep("qoi.qoi", 0, saved(rgb, "QOI"))


def orientations(rgb):
    """The same upright picture, stored in each of the eight ways."""
    undo = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
    }
    for value, steps in undo.items():
        stored = rgb
        for step in steps:
            stored = stored.transpose(step)
        exif = Image.Exif()
        exif[0x0112] = value
        keep(f"orientation-{value}.jpg", 8, saved(stored, "JPEG", quality=90, subsampling=0, exif=exif))
        keep(f"orientation-{value}.png", 0, saved(stored, "PNG", exif=exif))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = rgb.transpose(Image.Transpose.ROTATE_90)
    keep("orientation-6.webp", 0, saved(stored, "WEBP", lossless=True, exif=exif))
    keep("orientation-6.tif", 0, saved(stored, "TIFF", tiffinfo={0x0112: 6}))


def main():
    for old in HERE.iterdir():
        if old.name not in ("make.py",):
            old.unlink()
    rgb = picture()
    jpegs(rgb)
    pngs(rgb)
    others(rgb)
    orientations(rgb)
    text = ",\n".join("  " + json.dumps(entry) for entry in manifest)
    (HERE / "manifest.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
