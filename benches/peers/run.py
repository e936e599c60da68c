"""Measures showtell against others that do the same, on the same files, in turn.

    make bench-peers [ARGS="--photographs DIR --images 96 --archive 600 --rounds 5"]

Both sides are a process each that does what it is asked for and says how long it took: ours is
benches/peer.rs, theirs worker.py in this folder. Each measure runs them in turn, round after round,
on the same cores with as many threads; the table has the medians, and the ratio of each round's
pair with its least and greatest. Where both give features or captions, they have to agree.

Others are installed in a virtual environment outside the repository (about 3 GB; ~/.cache/showtell-peers
by default), unless --python names an interpreter that has them. What cannot be installed or does
not run here has its reason in the table. Without --photographs, photographs are made.

--clock cpu compares seconds of processor time instead of seconds that passed: for one core that
something else works on, too.
"""

import argparse
import array
import json
import math
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).resolve().parent
DIMENSIONS = 4096
BEAM = {"beam": 3, "max_tokens": 20, "length_penalty": 0.0}
CAPTIONER = {"features": DIMENSIONS, "embedding": 512, "hidden": 512}
PICTURES = 64
CACHED = 8192


class Failed(Exception):
    """A side could not do what it was asked for."""


class Side:
    """A process that answers a line of JSON with another one."""

    def __init__(self, name, command, cores):
        self.name = name
        threads = str(len(cores))
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    def ask(self, do, **request):
        """The answer, with the processor time that it took in `cpu`."""
        before = self.processor_time()
        try:
            print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"{self.name} ended with {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        answer["cpu"] = self.processor_time() - before
        return answer

    def processor_time(self):
        """Seconds, of the process and of those that it started."""
        ticks = 0
        pids = [self.process.pid]
        while pids:
            pid = pids.pop()
            try:
                tasks = pathlib.Path(f"/proc/{pid}/task")
                for task in tasks.iterdir():
                    pids += map(int, (task / "children").read_text().split())
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # utime, stime, and those of children that have ended.
            ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Measures:
    """What is compared, on what."""

    def __init__(self, options, scratch, ours, theirs):
        self.options, self.scratch, self.ours, self.theirs = options, scratch, ours, theirs
        self.cores = len(options.cores)

    def pairs(self, ours, theirs):
        """The answers of each round, ours first; a first pair warms up and does not count."""
        pairs = []
        for number in range(self.options.rounds + 1):
            pair = (ours(), theirs()) if number % 2 else tuple(reversed((theirs(), ours())))
            if number:
                pairs.append(pair)
        return pairs

    def load(self, precision, how):
        self.ours.ask("encoder", weights=str(self.weights), precision=precision)
        self.theirs.ask("encoder", weights=str(self.weights), precision=precision, how=how, batch=self.options.batch)

    def fc7(self, precision, how, least_cosine):
        self.load(precision, how)
        into = [str(self.scratch / f"fc7-{side}") for side in ("ours", "theirs")]
        work = {"files": self.small[: self.options.images], "batch": self.options.batch}
        pairs = self.pairs(
            lambda: self.ours.ask("fc7", **work, into=into[0]),
            lambda: self.theirs.ask("fc7", **work, into=into[1]),
        )
        self.agree(*into, least_cosine)
        return len(work["files"]), "images/s", pairs

    def agree(self, ours, theirs, least_cosine):
        rows = []
        for file in (ours, theirs):
            values = array.array("f", pathlib.Path(file).read_bytes())
            rows.append([values[at : at + DIMENSIONS] for at in range(0, len(values), DIMENSIONS)])
        cosines = [cosine(a, b) for a, b in zip(*rows, strict=True)]
        if min(cosines) < least_cosine:
            raise Failed(f"features differ: a cosine of {min(cosines):.5f}, below {least_cosine}")

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
        work = {"features": str(self.features), "decoding": BEAM}
        for side in (self.ours, self.theirs):
            side.ask("captioner", **self.captioner)
        pairs = self.pairs(lambda: self.ours.ask("beam", **work), lambda: self.theirs.ask("beam", **work))
        ours, theirs = (answer["captions"] for answer in pairs[-1])
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
        stages = dict(pairs[-1][0]["stages"])
        slowest = max(stages, key=stages.get)
        print(
            f"    of our run's {pairs[-1][0]['seconds']:.2f} s the slowest stage, {slowest}, "
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


def cosine(a, b):
    product = math.fsum(x * y for x, y in zip(a, b))
    return product / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("showtell", type=pathlib.Path, help="benches/peer.rs, built")
    parser.add_argument("--python", help="an interpreter that has the others")
    parser.add_argument("--venv", type=pathlib.Path, default=pathlib.Path.home() / ".cache/showtell-peers")
    parser.add_argument("--photographs", type=pathlib.Path, help="a folder of JPEGs, of about 500 x 375")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=int, default=32, help="through the full-size network, each round")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--archive", type=int, default=48, help="images of the archive")
    parser.add_argument("--cores", help="such as 0,1; all by default")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--only", help="names, parted by commas: " + ", ".join(row[0] for row in TABLE))
    options = parser.parse_args()
    options.cores = sorted(map(int, options.cores.split(","))) if options.cores else sorted(os.sched_getaffinity(0))
    # torch.compile and OpenVINO get whole batches alone.
    options.images = math.ceil(options.images / options.batch) * options.batch
    return options


def interpreter(options):
    """A Python that has the others; installs them where it has to."""
    if options.python:
        return options.python
    python = options.venv / "bin/python"
    wanted = (HERE / "requirements.txt").read_text()
    mark = options.venv / "installed"
    if not mark.exists() or mark.read_text() != wanted:
        print(f"installing the others into {options.venv}", flush=True)
        venv.create(options.venv, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", HERE / "requirements.txt"], check=True)
        mark.write_text(wanted)
    return str(python)


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
    chosen = options.only.split(",") if options.only else [row[0] for row in TABLE]
    python = interpreter(options)
    random.seed(0)
    print(f"{machine()}, cores {options.cores}, {options.clock} time, {options.rounds} rounds", flush=True)
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        command = [python, HERE / "worker.py"]
        maker = Side("worker.py", command, options.cores)
        photographs = sorted(options.photographs.rglob("*.jpg")) if options.photographs else []
        made = maker.ask(
            "make",
            into=str(scratch),
            photographs=[str(file) for file in photographs],
            count=max(options.images, 32),
            captioner=CAPTIONER,
            words=10_000,
            pictures=PICTURES,
            cached=CACHED,
        )
        maker.close()
        for name, what, against, target, measure in TABLE:
            if name not in chosen:
                continue
            cores = options.cores[-1:] if name in ON_ONE_CORE else options.cores
            ours, theirs = Side("peer", [options.showtell], cores), Side("worker.py", command, cores)
            measures = Measures(options, scratch, ours, theirs)
            for key in ("small", "large", "weights", "captioner", "features", "cached"):
                setattr(measures, key, made[key])
            try:
                results.append((what, against, target, *figures(options, *measure(measures))))
            except Failed as failure:
                results.append((what, against, target, str(failure)))
            ours.close()
            theirs.close()
            print("  ", tell(results[-1]), flush=True)
    print()
    print("| measure | against | ours | theirs | ratio | wanted |\n|---|---|---|---|---|---|")
    for result in results:
        print(tell(result))


def figures(options, count, unit, pairs):
    clock = "cpu" if options.clock == "cpu" else "seconds"
    ours, theirs = ([count / max(answer[clock], 1e-9) for answer in side] for side in zip(*pairs))
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    return unit, statistics.median(ours), statistics.median(theirs), ratios


def tell(result):
    what, against, target, *found = result
    if len(found) == 1:
        return f"| {what} | {against} | not measured: {found[0]} | | | {target} |"
    unit, ours, theirs, ratios = found
    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"| {what} | {against} | {ours:.3g} {unit} | {theirs:.3g} | {ratio} | {target} |"


if __name__ == "__main__":
    sys.exit(main())
