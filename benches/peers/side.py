"""The two sides of a measure: processes that do what they are asked for and say how long it took."""

import array
import json
import math
import os
import pathlib
import select
import statistics
import subprocess
import time


class Failed(Exception):
    """A side could not do what it was asked for."""


class Side:
    """A process that answers a line of JSON with another one. What failed once is not asked again: `fault`
    says why. Without a command it has its fault from the beginning."""

    def __init__(self, name, command, cores, fault=None, environment=None, deadline=math.inf):
        self.name, self.fault, self.deadline, self.rest = name, fault, deadline, b""
        self.process = None
        if fault:
            return
        threads = str(len(cores))
        settings = {"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads, **(environment or {})}
        try:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **settings},
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        except OSError as error:
            self.fault = f"{name} does not start: {error}"

    def ask(self, do, **request):
        """The answer, with the processor time that it took in `cpu`."""
        if self.fault:
            raise Failed(self.fault)
        before = self.processor_time()
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            self.process.stdin.flush()
            line = self.line()
        except BrokenPipeError:
            line = b""
        except TimeoutError:
            self.process.kill()
            raise self.failed(f"{self.name} took too long for {do}, see --budget")
        if not line:
            raise self.failed(f"{self.name} ended with {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise self.failed(answer["error"])
        answer["cpu"] = self.processor_time() - before
        return answer

    def line(self):
        """What it says next, whole; nothing if it has ended."""
        out = self.process.stdout.fileno()
        while b"\n" not in self.rest:
            left = None if self.deadline == math.inf else max(0, self.deadline - time.monotonic())
            if not select.select([out], [], [], left)[0]:
                raise TimeoutError
            piece = os.read(out, 1 << 16)
            if not piece:
                return b""
            self.rest += piece
        line, self.rest = self.rest.split(b"\n", 1)
        return line

    def failed(self, reason):
        self.fault = " ".join(reason.split()).replace("|", "/")[:300]
        return Failed(self.fault)

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

    def peak_memory(self):
        """Bytes that the process had resident at most; none where the system does not tell."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None

    def close(self):
        if not self.process:
            return
        try:
            self.process.stdin.close()
            self.process.wait(60)
        except BrokenPipeError:
            self.process.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def in_turn(rounds, ours, theirs, work):
    """The answers of each, round after round, after a first pair that warms up and does not count. A side
    that fails leaves the other one alone."""
    answers = {ours: [], theirs: []}
    for number in range(rounds + 1):
        for side in (ours, theirs) if number % 2 else (theirs, ours):
            try:
                answer = work(side)
            except Failed:
                answers[side].clear()
                continue
            if number:
                answers[side].append(answer)
    return answers[ours], answers[theirs]


class Row:
    """A line of the table: what each side did in a second, round by round, or why it could not."""

    def __init__(self, what, against, wanted):
        self.what, self.against, self.wanted = what, against, wanted
        self.unit, self.ours, self.theirs, self.ranges = "", "", "", False

    def found(self, unit, ours, theirs, ranges=False):
        """`ours` and `theirs`: values, or why there are none."""
        self.unit, self.ours, self.theirs, self.ranges = unit, ours, theirs, ranges
        return self

    def __str__(self):
        ratio = ""
        if isinstance(self.ours, list) and isinstance(self.theirs, list):
            ratios = sorted(a / b for a, b in zip(self.ours, self.theirs))
            ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        cells = [self.what, self.against, self.side(self.ours, f" {self.unit}"), self.side(self.theirs, ""), ratio]
        return f"| {' | '.join(cells)} | {self.wanted} |"

    def side(self, values, unit):
        if isinstance(values, str):
            return values and f"not measured: {values}"
        text = number(statistics.median(values)) + unit
        return f"{text} ({number(min(values))} to {number(max(values))})" if self.ranges else text


def number(value):
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def values(side, count, answers, clock):
    """What a side did in a second of each round, or why it did nothing."""
    if side.fault:
        return side.fault
    return [count / max(answer[clock], 1e-9) for answer in answers]


def agree(ours, theirs, dimensions, least_cosine):
    """Compares two files of features row by row."""
    rows = []
    for file in (ours, theirs):
        numbers = array.array("f", pathlib.Path(file).read_bytes())
        rows.append([numbers[at : at + dimensions] for at in range(0, len(numbers), dimensions)])
    cosines = []
    for a, b in zip(*rows, strict=True):
        product = math.fsum(x * y for x, y in zip(a, b))
        lengths = math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
        cosines.append(product / lengths if lengths else 0)
    if not min(cosines) >= least_cosine:
        raise Failed(f"features differ: a cosine of {min(cosines):.5f}, below {least_cosine}")
