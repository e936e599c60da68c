"""The GPU table of run.py: how near a whole run comes to what limits it, and the network and the search
against PyTorch on the same device.

What is counted alike on both sides of the network: pixels begin as u8 in ordinary memory, as decoders leave
them, and features end there in fp32; each batch has ended before the next one begins. In between each
side does what is fastest for it: both copy to memory that the GPU fetches from by itself (kept by theirs, from
libtorch's pool in ours), upload bytes, and normalise on the GPU, theirs within the compiled network. Both
look at the same photographs, and their features have to agree. What compiles or tunes itself does so
before; the clock stops when the device has done all. The limit that a run is held against is that of the
network as a run drives it: the next batch is on its way while this one is computed.

In fp32 neither may round to TF32: NVIDIA_TF32_OVERRIDE=0 tells cuBLAS and cuDNN of both processes, and
PyTorch's switches tell what it compiles.
"""

import os
import pathlib
import shutil
import subprocess
import time

from side import Failed, Row, agree, in_turn, values

BEAM = {"beam": 3, "max_tokens": 20, "length_penalty": 0.0}
SEARCHES = 20
NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}


class GpuTable:
    """`sides` makes both sides of a row, given their environment and whether theirs is needed; `made` is what
    they work on."""

    def __init__(self, options, scratch, made, dimensions, sides):
        self.options, self.scratch, self.made, self.dimensions, self.sides = options, scratch, made, dimensions, sides
        self.on_gpu = options.device != "cpu"
        self.batch = options.device_batch
        self.photographs = made["small"][:1000]

    def rows(self, chosen):
        """Measures what is chosen, row by row."""
        measures = [
            ("gpu-run", lambda: self.run()),
            ("gpu-beam", lambda: self.beam()),
            ("gpu-model-bf16", lambda: self.model("bf16", 0.99)),
            ("gpu-model-fp16", lambda: self.model("fp16", 0.99)),
            ("gpu-model-fp32", lambda: self.model("fp32", 0.999, NO_TF32)),
        ]
        for name, measure in measures:
            if name in chosen:
                yield from measure()

    def began(self, environment):
        """Both sides, on the device."""
        ours, theirs = self.sides(environment, True)
        for side in ours, theirs:
            quietly(lambda: side.ask("device", device=self.options.device))
        return ours, theirs

    def squares(self, ours):
        """A batch of photographs as pixels, for both sides."""
        into = self.scratch / f"squares-{self.batch}"
        if not into.exists():
            files = [self.photographs[at % len(self.photographs)] for at in range(self.batch)]
            ours.ask("squares", files=files, into=str(into))
        return str(into)

    def run(self):
        """What the cores can decode and what the device can encode, each alone, and the whole run."""
        count = self.options.device_images
        rows = {
            "decode": Row("decoding alone, all cores", "", ""),
            "model": Row(f"VGG-16 alone, auto, batch {self.batch}", "", ""),
            "embed": Row(f"walk to embeddings, {count:,} images", "the smaller limit", "0.90"),
            "annotate": Row(f"walk to captions, beam 3, {count:,} images", "the smaller limit", "0.90"),
        }
        before = used_memory(self.options.device)
        ours, _ = self.sides(None, False)
        rounds = []
        try:
            precision = ours.ask("device", device=self.options.device)["precision"]
            rows["model"].what = f"VGG-16 alone, {precision}, batch {self.batch}"
            ours.ask("encoder", weights=self.made["weights"], precision="auto", ahead=True)
            ours.ask("captioner", **self.made["captioner"])
            pixels = self.squares(ours)
            self.round(ours, pixels, "warm", 4 * self.batch if self.on_gpu else self.batch)
            for _ in range(self.options.device_rounds):
                rounds.append(self.round(ours, pixels, "archive", count))
            print("   ", told_memory(self.options.device, before, ours), flush=True)
        except (Failed, OSError) as failure:
            # Rounds that were finished are good.
            reason = str(failure)
            print(f"    after {len(rounds)} rounds: {reason}", flush=True)
        finally:
            ours.close()
            shutil.rmtree(self.scratch / "archive", ignore_errors=True)
        limits = [min(one["decode"], one["model"]) for one in rounds]
        for name, row in rows.items():
            if rounds:
                row.found("images/s", [one[name] for one in rounds], limits if row.wanted else "", ranges=True)
            else:
                row.found("", reason, "")
        for did in rounds[-1]["busy"] if rounds else []:
            print("   ", did, flush=True)
        return rows.values()

    def round(self, ours, pixels, name, count):
        """Each once, in images a second; and how busy the stages of the runs were."""
        archive = self.scratch / name
        files = archive_of(archive, self.photographs, count)
        did = {"busy": []}
        did["decode"] = count / ours.ask("decode", files=files, together=True)["seconds"]
        batches = -(-count // self.batch)
        answer = ours.ask("model", count=count, batch=self.batch, pixels=pixels, ahead=True)
        did["model"] = batches * self.batch / answer["seconds"]
        out = self.scratch / "out"
        for kind, decoding in ("embed", None), ("annotate", BEAM):
            # What the disk has to write of the one run is no part of the other.
            os.sync()
            answer = ours.ask("archive", directory=str(archive), out=str(out), batch=self.batch, decoding=decoding)
            did[kind] = count / answer["seconds"]
            stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in answer["stages"])
            did["busy"].append(f"{kind}: {answer['seconds']:.2f} s, of which busy: {stages}")
            shutil.rmtree(out)
        return did

    def beam(self):
        what = f"beam 3, 20 tokens, LSTM 512, 10,000 words, fp32, batch {self.batch}"
        row = Row(what, "batched beam search in PyTorch", "1.0")
        ours, theirs = self.began(NO_TF32)
        features = self.scratch / "features-device"
        wanted = self.batch * self.dimensions * 4
        kept = pathlib.Path(self.made["features"]).read_bytes()
        features.write_bytes((kept * -(-wanted // len(kept)))[:wanted])
        repeats = SEARCHES if self.on_gpu else 1
        for side in ours, theirs:
            quietly(lambda: side.ask("captioner", **self.made["captioner"]))
        answers = in_turn(
            self.options.device_rounds,
            ours,
            theirs,
            lambda side: side.ask("beam", features=str(features), decoding=BEAM, repeats=repeats),
        )
        self.compared(row, "captions/s", self.batch * repeats, ours, theirs, answers)
        if all(answers):
            captions = [answer[-1]["captions"] for answer in answers]
            same = sum(a == b for a, b in zip(*captions, strict=True))
            if same < 0.95 * self.batch:
                self.refuse(row, f"only {same} of {self.batch} captions are the same")
        return [self.closed(row, ours, theirs)]

    def model(self, precision, least_cosine, environment=None):
        """The network alone: pixels in memory to features in memory."""
        what = f"VGG-16 alone, {precision}{' without TF32' if environment else ''}, batch {self.batch}"
        row = Row(what, "torch.compile, max-autotune, channels-last", "1.0")
        ours, theirs = self.began(environment)
        into = {side: str(self.scratch / f"features-{side.name}") for side in (ours, theirs)}
        how = {ours: {}, theirs: {"how": "max-autotune", "batch": self.batch}}
        # Whether or not our side computes in this precision, it can give theirs the pixels.
        try:
            pixels = self.squares(ours)
        except Failed as failure:
            return [self.closed(row.found("", str(failure), ""), ours, theirs)]
        for side in ours, theirs:
            since = time.monotonic()
            quietly(lambda: side.ask("encoder", weights=self.made["weights"], precision=precision, **how[side]))
            if side is theirs and not side.fault:
                print(f"    compiled and tuned in {time.monotonic() - since:.0f} s", flush=True)
        count = self.batch * (100 if self.on_gpu else 1)
        work = {"count": count, "batch": self.batch, "pixels": pixels}
        ask = lambda side: side.ask("model", **work, into=into[side])
        answers = in_turn(self.options.device_rounds, ours, theirs, ask)
        self.compared(row, "images/s", count, ours, theirs, answers)
        try:
            if all(answers):
                agree(into[ours], into[theirs], self.dimensions, least_cosine)
        except Failed as failure:
            self.refuse(row, str(failure))
        return [self.closed(row, ours, theirs)]

    def compared(self, row, unit, count, ours, theirs, answers):
        found = (values(side, count, did, "seconds") for side, did in zip((ours, theirs), answers))
        row.found(unit, *found, ranges=True)

    def refuse(self, row, reason):
        """What does not agree is no comparison; what was measured is told all the same."""
        print("    does not count:", row, flush=True)
        row.found("", reason, "")

    def closed(self, row, ours, theirs):
        for side in ours, theirs:
            side.close()
        return row


def quietly(ask):
    """What fails is told by the side's fault."""
    try:
        ask()
    except Failed:
        pass


def archive_of(folder, photographs, count):
    """So many files, a hundred in a folder, all of different content: a byte behind the end of a JPEG shows
    nothing, and makes it another file."""
    if not folder.exists():
        contents = [pathlib.Path(file).read_bytes() for file in photographs]
        for at in range(count):
            into = folder / f"{at // 100:05}"
            into.mkdir(parents=True, exist_ok=True)
            (into / f"{at:07}.jpg").write_bytes(contents[at % len(contents)] + at.to_bytes(4, "big"))
        os.sync()
    return sorted(map(str, folder.rglob("*.jpg")))


def asked_driver(device, query):
    """What the driver says of a GPU, or none."""
    if device == "cpu":
        return None
    index = int(device.partition(":")[2])
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    which = visible[index] if index < len(visible) else str(index)
    command = ["nvidia-smi", f"--id={which}", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None if told.returncode == 0 else None


def used_memory(device):
    """Bytes of the GPU that are in use, whoever uses them; none if the driver does not tell."""
    told = asked_driver(device, "memory.used")
    return int(told) << 20 if told and told.isdigit() else None


def told_memory(device, before, ours):
    peak = ours.peak_memory()
    text = f"memory: our process had {f'{peak / 2**30:.2f} GiB' if peak else 'nobody knows what'} resident at most"
    if device == "cpu":
        return text
    after = used_memory(device)
    if before is None or after is None:
        return text + "; nvidia-smi does not tell what is used of the device"
    # What libtorch has taken from the device it keeps.
    return text + f", and {(after - before) / 2**30:.2f} GiB of the device"


def describe(device, told, python):
    """What both sides compute on, in words. `told` is our side's answer, `python` what theirs has."""
    libtorch = told["libtorch"]
    text = f"libtorch {libtorch['libtorch_version']} of {libtorch['libtorch_folder']}"
    if device != "cpu":
        cuda = libtorch["cuda"]
        gpu = cuda["devices"][int(device.partition(":")[2])]
        memory = f"{gpu['memory'] / 2**30:.1f} GiB" if gpu["memory"] else "memory unknown"
        capability = ".".join(map(str, gpu["capability"] or "?"))
        runs = ".".join(map(str, cuda["driver"].values())) if cuda["driver"] else "unknown"
        driver = asked_driver(device, "driver_version") or "unknown"
        text = (
            f"{gpu['name'] or 'a GPU'} ({memory}, compute capability {capability}), driver {driver} (CUDA {runs} at most), " + text
        )
    if "torch" in python:
        text += f"; theirs: torch {python['torch']}, CUDA {python['cuda']}, cuDNN {python['cudnn']}"
    return f"{device}: {text}; auto is {told['precision']} here"
