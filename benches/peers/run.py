"""Measures showtell against others that do the same, on the same files, in turn.

    make bench-peers [ARGS="--photographs DIR --images 96 --archive 600 --rounds 5"]
    make bench-peers ARGS="--device cuda:0 --only gpu"

Both sides are a process each that does what it is asked for and says how long it took: ours is
benches/peer.rs, theirs worker.py in this folder. Each measure runs them in turn, round after round,
on the same cores with as many threads; the table has the medians, and the ratio of each round's
pair with its least and greatest. Where both give features or captions, they have to agree.

Others are installed in a virtual environment outside the repository (5 GB; ~/.cache/showtell-peers
by default), unless --python names an interpreter that has them. What cannot be installed or does
not run here has its reason in the table, and our side is measured alone; then it makes the weights and
photographs, too. Without --photographs, photographs are made.

--device cuda:N measures a table of the GPU besides that of the CPU (gpu.py tells how), or alone with --only
gpu. --only gpu without a GPU measures that table on the CPU, which shows that it can be measured.

--clock cpu compares seconds of processor time instead of seconds that passed: for one core that
something else works on, too. It is not for the table of the GPU.
"""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv

import gpu
from side import Failed, Row, Side, agree, in_turn, values

HERE = pathlib.Path(__file__).resolve().parent
DIMENSIONS = 4096
CAPTIONER = {"features": DIMENSIONS, "embedding": 512, "hidden": 512}
PICTURES = 64
CACHED = 8192
# What is left of --budget for our side when theirs has used it up, in seconds.
GRACE = 30


class Measures:
    """What is compared, on what."""

    def __init__(self, options, scratch, ours, theirs):
        self.options, self.scratch, self.ours, self.theirs = options, scratch, ours, theirs
        self.cores = len(options.cores)

    def pairs(self, ours, theirs):
        """The answers of ours, and those of theirs; none of a side that cannot do it."""
        work = {self.ours: ours, self.theirs: theirs}
        return in_turn(self.options.rounds, self.ours, self.theirs, lambda side: work[side]())

    def load(self, precision, how):
        work = {"weights": str(self.weights), "precision": precision}
        gpu.quietly(lambda: self.ours.ask("encoder", **work))
        gpu.quietly(lambda: self.theirs.ask("encoder", **work, how=how, batch=self.options.batch))

    def fc7(self, precision, how, least_cosine):
        self.load(precision, how)
        into = [str(self.scratch / f"fc7-{side}") for side in ("ours", "theirs")]
        work = {"files": self.small[: self.options.images], "batch": self.options.batch}
        pairs = self.pairs(
            lambda: self.ours.ask("fc7", **work, into=into[0]),
            lambda: self.theirs.ask("fc7", **work, into=into[1]),
        )
        if all(pairs):
            agree(*into, DIMENSIONS, least_cosine)
        return len(work["files"]), "images/s", pairs

    def fc7_fp32(self):
        return self.fc7("fp32", "eager", 0.999)

    def fc7_bf16(self):
        return self.fc7("bf16", "compiled", 0.99)

    def model_bf16(self):
        self.load("bf16", "openvino")
        work = {"count": self.options.images, "batch": self.options.batch}
        pairs = self.pairs(lambda: self.ours.ask("model", **work), lambda: self.theirs.ask("model", **work))
        return work["count"], "images/s", pairs

    def decode(self, files):
        work = {"files": files}
        return (
            len(files),
            "images/s",
            self.pairs(lambda: self.ours.ask("decode", **work), lambda: self.theirs.ask("decode", **work)),
        )

    def decode_small(self):
        return self.decode((self.small * math.ceil(200 / len(self.small)))[:200])

    def decode_large(self):
        return self.decode(self.large * 3)

    def beam(self):
        work = {"features": str(self.features), "decoding": gpu.BEAM}
        for side in (self.ours, self.theirs):
            gpu.quietly(lambda: side.ask("captioner", **self.captioner))
        pairs = self.pairs(lambda: self.ours.ask("beam", **work), lambda: self.theirs.ask("beam", **work))
        if all(pairs):
            ours, theirs = (answers[-1]["captions"] for answers in pairs)
            same = sum(a == b for a, b in zip(ours, theirs, strict=True))
            # Two sums of the same numbers in another order may decide a tie otherwise.
            if same < 0.95 * len(ours):
                raise Failed(f"only {same} of {len(ours)} captions are the same")
        return PICTURES, "captions/s", pairs

    def written(self, side, number):
        return str(self.scratch / f"cache-{side}-{number}")

    def cache_write(self):
        work = {"features": str(self.cached), "dims": DIMENSIONS}
        numbers = {"ours": 0, "theirs": 0}

        def write(side, name):
            numbers[name] += 1
            for number in numbers[name] - 1, numbers[name]:
                shutil.rmtree(self.written(name, number), ignore_errors=True)
            return side.ask("cache-write", **work, out=self.written(name, numbers[name]))

        pairs = self.pairs(lambda: write(self.ours, "ours"), lambda: write(self.theirs, "theirs"))
        self.last = numbers
        return CACHED * DIMENSIONS * 4 / 1e6, "MB/s", pairs

    def cache_read(self):
        if not hasattr(self, "last"):
            self.cache_write()
        work = {"count": CACHED, "dims": DIMENSIONS}
        pairs = self.pairs(
            lambda: self.ours.ask("cache-read", **work, out=self.written("ours", self.last["ours"])),
            lambda: self.theirs.ask("cache-read", **work, out=self.written("theirs", self.last["theirs"])),
        )
        return CACHED * DIMENSIONS * 4 / 1e6, "MB/s", pairs

    def archive(self):
        archive = self.scratch / "archive"
        archive.mkdir()
        for number in range(self.options.archive):
            # A byte behind the end of a JPEG shows nothing, and makes it another file.
            content = pathlib.Path(self.small[number % len(self.small)]).read_bytes() + number.to_bytes(4, "big")
            folder = archive / f"{number // 100:03}"
            folder.mkdir(exist_ok=True)
            (folder / f"{number:06}.jpg").write_bytes(content)
        self.load("auto", "eager")
        outs = iter(range(1000))

        def run(side):
            return side.ask("archive", directory=str(archive), out=str(self.scratch / f"out-{next(outs)}"))

        pairs = self.pairs(lambda: run(self.ours), lambda: run(self.theirs))
        shutil.rmtree(archive)
        if pairs[0]:
            last = pairs[0][-1]
            stages = dict(last["stages"])
            slowest = max(stages, key=stages.get)
            print(
                f"    of our run's {last['seconds']:.2f} s the slowest stage, {slowest}, "
                f"was busy for {stages[slowest]:.2f}",
                flush=True,
            )
        return self.options.archive, "images/s", pairs


# Name, what, against what, the ratio that is asked for, and how.
TABLE = [
    ("fc7-fp32", "JPEG to fc7, fp32", "PyTorch eager, torchvision, DataLoader", 1.5, Measures.fc7_fp32),
    ("fc7-bf16", "JPEG to fc7, bf16", "torch.compile with freezing, bf16", 1.2, Measures.fc7_bf16),
    ("model-bf16", "VGG-16 alone, bf16", "OpenVINO, bf16", 1.0, Measures.model_bf16),
    ("decode-small", "JPEG to 224x224, one core", "Pillow, torchvision", 1.5, Measures.decode_small),
    ("decode-large", "the same, of 12 megapixels", "Pillow, torchvision", 4.0, Measures.decode_large),
    ("beam", "beam 3, 20 tokens, LSTM 512, 10,000 words", "batched beam search in PyTorch", 1.5, Measures.beam),
    ("cache-write", "write the cache", "pyarrow, same encoding", 1.0, Measures.cache_write),
    ("cache-read", "read the cache", "pyarrow, same encoding", 1.0, Measures.cache_read),
    ("archive", "walk to embeddings, auto", "clip-retrieval's way, eager, fp32", 3.0, Measures.archive),
]
ON_ONE_CORE = ("decode-small", "decode-large")
GPU_TABLE = ("gpu-run", "gpu-beam", "gpu-model-bf16", "gpu-model-fp16", "gpu-model-fp32")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("showtell", type=pathlib.Path, help="benches/peer.rs, built")
    parser.add_argument("--python", help="an interpreter that has the others")
    parser.add_argument("--venv", type=pathlib.Path, default=pathlib.Path.home() / ".cache/showtell-peers")
    parser.add_argument("--libtorch", type=pathlib.Path, help="the folder of a libtorch_cpu.so for our side")
    parser.add_argument("--photographs", type=pathlib.Path, help="a folder of JPEGs, of about 500 x 375")
    parser.add_argument("--rounds", type=int, help="2 by default, 3 in the table of the GPU")
    parser.add_argument("--images", type=int, default=32, help="through the full-size network, each round")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--archive", type=int, default=48, help="images of the archive")
    parser.add_argument("--cores", help="such as 0,1; all by default")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:N for the table of the GPU")
    parser.add_argument("--device-batch", type=int, default=256, help="in the table of the GPU; 256 is what annotate takes for one")
    parser.add_argument("--device-images", type=int, help="of its whole runs: 20000 by default, 64 on the CPU")
    parser.add_argument("--budget", type=float, help="seconds for the table of the GPU: 330 by default on a GPU")
    names = [row[0] for row in TABLE]
    parser.add_argument("--only", help=f"names, parted by commas: {', '.join([*names, *GPU_TABLE])}; cpu and gpu are all")
    options = parser.parse_args()
    options.device = {"cuda": "cuda:0"}.get(options.device, options.device)
    on_gpu = options.device != "cpu"
    if on_gpu and not re.fullmatch(r"cuda:[0-9]+", options.device):
        parser.error(f"--device is cpu or cuda:N, not {options.device}")
    options.cores = sorted(map(int, options.cores.split(","))) if options.cores else sorted(os.sched_getaffinity(0))
    # torch.compile and OpenVINO get whole batches alone.
    options.images = math.ceil(options.images / options.batch) * options.batch
    options.device_images = options.device_images or (20_000 if on_gpu else 64)
    options.device_rounds = options.rounds or 3
    options.rounds = options.rounds or 2
    options.budget = options.budget or (330 if on_gpu else math.inf)
    groups = {"cpu": names, "gpu": GPU_TABLE}
    asked = options.only.split(",") if options.only else ["cpu", *(["gpu"] if on_gpu else [])]
    options.chosen = {name for one in asked for name in groups.get(one, [one])}
    unknown = options.chosen.difference(names, GPU_TABLE)
    if unknown:
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    return options


def interpreter(options):
    """A Python that has the others; installs them where it has to, and where it cannot takes the one that
    runs this."""
    if options.python:
        return options.python
    python = options.venv / "bin/python"
    wanted = (HERE / "requirements.txt").read_text()
    mark = options.venv / "installed"
    if mark.exists() and mark.read_text() == wanted:
        return str(python)
    print(f"installing the others into {options.venv}", flush=True)
    try:
        venv.create(options.venv, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2"]
        subprocess.run([*install, "-r", HERE / "requirements.txt"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"that failed ({error}); looking for them in {sys.executable}", flush=True)
        return sys.executable
    mark.write_text(wanted)
    return str(python)


VERSIONS = """
import json, numpy, PIL, torch, torchvision
print(json.dumps({
    "torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
    "torchvision": torchvision.__version__, "pillow": PIL.__version__, "numpy": numpy.__version__,
    "lib": torch.__path__[0] + "/lib",
}))
"""


def others(python):
    """The versions of the others, or `missing`: why they cannot be measured."""
    try:
        told = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True)
    except OSError as error:
        return {"missing": f"{python} does not start: {error}"}
    if told.returncode:
        lines = told.stderr.strip().splitlines() or [f"it ended with {told.returncode}"]
        return {"missing": lines[-1]}
    return json.loads(told.stdout.splitlines()[-1])


def our_libtorch(options, python):
    """Our side's answer to which device it has, and the settings that it starts with. It was built against
    some libtorch; where that is not there, or has no CUDA half, it runs on that of the others' Python, if
    that is of the same version."""
    version = f"torch=={python.get('torch', '').partition('+')[0]}"
    fits = version in (HERE / "requirements.txt").read_text().splitlines()
    places = [options.libtorch] if options.libtorch else [None, *([python["lib"]] if fits else [])]
    reasons = []
    for device in dict.fromkeys([options.device, "cpu"]):
        for place in places:
            settings = {}
            if place:
                rest = os.environ.get("LD_LIBRARY_PATH")
                settings["LD_LIBRARY_PATH"] = f"{place}:{rest}" if rest else str(place)
            ours = Side("peer", [options.showtell], options.cores, environment=settings)
            try:
                return ours.ask("device", device=device), device, settings, reasons
            except Failed as failure:
                reasons.append(f"{failure} (libtorch of {place or 'the build'})")
            finally:
                ours.close()
    sys.exit("our side does not run: " + "; ".join(reasons))


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    flags = pathlib.Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split()
    has = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{model} ({', '.join(has)})"


def main():
    options = arguments()
    executable = interpreter(options)
    python = others(executable)
    missing = python.get("missing")
    print(f"{machine()}, cores {options.cores}, {options.clock} time, {options.rounds} rounds", flush=True)
    versions = ", ".join(f"{name} {version}" for name, version in python.items() if name != "lib")
    print(f"others in {executable}: {missing}" if missing else f"others: {versions}", flush=True)
    started = time.monotonic()
    told, device, settings, reasons = our_libtorch(options, python)
    command = [executable, HERE / "worker.py"]
    tables = []

    def sides(cores, environment=None, deadline=math.inf, both=True):
        late = "no time was left, see --budget" if time.monotonic() > deadline else None
        fault = late or missing or (None if both else "not asked for")
        ours = Side("peer", [options.showtell], cores, late, {**settings, **(environment or {})}, deadline + GRACE)
        return ours, Side("worker.py", command, cores, fault, environment, deadline)

    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        made = material(options, scratch, *sides(options.cores))
        if options.chosen.intersection(GPU_TABLE):
            if device == options.device:
                print(gpu.describe(device, told, python), flush=True)
                deadline = started + options.budget
                at = lambda environment, both: sides(options.cores, environment, deadline, both)
                table = gpu.GpuTable(options, scratch, made, DIMENSIONS, at)
                tables.append(("On a GPU" if device != "cpu" else "The table of a GPU, on the CPU", []))
                for row in table.rows(options.chosen):
                    tables[-1][1].append(row)
                    print("  ", row, flush=True)
                print(f"    all of it took {time.monotonic() - started:.0f} s", flush=True)
            else:
                print("The table of the GPU is left out, since our side cannot use it:", "; ".join(reasons), flush=True)
        elif options.device == "cpu" and not options.only:
            print("The table of the GPU is left out, since --device is cpu: --device cuda:0 measures it", flush=True)
        if options.chosen.difference(GPU_TABLE):
            tables.append(("On the CPU", []))
            for row in on_the_cpu(options, scratch, made, sides):
                tables[-1][1].append(row)
                print("  ", row, flush=True)
    for title, rows in tables:
        print(f"\n{title}:\n\n| measure | against | ours | theirs | ratio | wanted |\n|---|---|---|---|---|---|")
        for row in rows:
            print(row)
    return 0 if any(rows for _, rows in tables) else 1


def material(options, scratch, ours, theirs):
    """Photographs and weights for both sides, made by theirs where it runs."""
    photographs = sorted(options.photographs.rglob("*.jpg")) if options.photographs else []
    wanted = {
        "into": str(scratch),
        "photographs": [str(file) for file in photographs],
        "count": max(options.images, 32),
        "large": 4 if "decode-large" in options.chosen else 0,
        "captioner": CAPTIONER,
        "words": 10_000,
        "pictures": PICTURES,
        "cached": CACHED if options.chosen.intersection(("cache-write", "cache-read")) else 0,
    }
    try:
        return theirs.ask("make", **wanted)
    except Failed as failure:
        print(f"our side makes photographs and weights: {failure}", flush=True)
        try:
            return ours.ask("make", **wanted)
        except Failed as failure:
            sys.exit(f"our side makes no photographs and weights: {failure}")
    finally:
        theirs.close()
        ours.close()


def on_the_cpu(options, scratch, made, sides):
    """Measures what is chosen, row by row."""
    clock = "cpu" if options.clock == "cpu" else "seconds"
    for name, what, against, target, measure in TABLE:
        if name not in options.chosen:
            continue
        ours, theirs = sides(options.cores[-1:] if name in ON_ONE_CORE else options.cores)
        measures = Measures(options, scratch, ours, theirs)
        for key in ("small", "large", "weights", "captioner", "features", "cached"):
            setattr(measures, key, made[key])
        row = Row(what, against, target)
        try:
            count, unit, answers = measure(measures)
            sided = zip((ours, theirs), answers)
            row.found(unit, *(values(side, count, did, clock) for side, did in sided))
        except Failed as failure:
            row.found("", str(failure), "")
        ours.close()
        theirs.close()
        yield row


if __name__ == "__main__":
    sys.exit(main())
