"""The others' side of run.py: does what it is asked for, and says how long it took.

Speaks as benches/peer.rs does: a line of JSON for a request and one for an answer. Each way is the
fastest that is usual: whole batches, no gradients, files decoded by DataLoader's workers where there
is a core for them.
"""

import array
import hashlib
import json
import os
import pathlib
import sys
import time
import warnings

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torchvision import transforms
from torchvision.models import vgg16

THREADS = int(os.environ["OMP_NUM_THREADS"])
DIMENSIONS = 4096
START, END, UNK = 0, 1, 2
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

torch.set_num_threads(THREADS)
torch.set_grad_enabled(False)

SQUARE = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, DEVIATION),
    ]
)


class Files(torch.utils.data.Dataset):
    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, number):
        return SQUARE(Image.open(self.files[number]).convert("RGB"))


def batches(files, batch):
    # One core has nothing to gain from another process.
    return torch.utils.data.DataLoader(Files(files), batch_size=batch, num_workers=THREADS if THREADS > 1 else 0)


class Fc7(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        whole = vgg16().eval()
        whole.load_state_dict(torch.load(weights, weights_only=True))
        self.features, self.avgpool, self.classifier = whole.features, whole.avgpool, whole.classifier[:5]

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Fc7OfPixels(torch.nn.Module):
    """From `[batch, 224, 224, 3]` of bytes, as they come to a GPU, to features in fp32."""

    def __init__(self, weights, kind):
        super().__init__()
        self.kind = kind
        self.network = Fc7(weights).to(kind)
        mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        self.register_buffer("factor", 1 / (255 * deviation))
        self.register_buffer("offset", -mean / deviation)

    def forward(self, pixels):
        x = pixels.permute(0, 3, 1, 2).float() * self.factor + self.offset
        return self.network(x.to(self.kind)).float()


class Worker:
    def __init__(self):
        self.device = torch.device("cpu")

    def use(self, device):
        """Computes on this device from now on."""
        self.device = torch.device(device)
        if self.device.type == "cuda":
            # Says what is wrong where a GPU cannot be used.
            torch.cuda.init()
            torch.cuda.set_device(self.device)
        torch.zeros(1, device=self.device)

    def wait(self):
        """Until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def make(self, into, photographs, count, large, captioner, words, pictures, cached):
        """Photographs and weights for both sides."""
        into = pathlib.Path(into)
        dice = np.random.default_rng(0)
        small = photographs[:]
        for number in range(0 if photographs else count):
            file = into / f"small-{number}.jpg"
            made(dice, 500, 375).save(file, quality=90)
            small.append(str(file))
        large_files = []
        for number in range(large):
            base = Image.open(photographs[number]).convert("RGB") if photographs else made(dice, 500, 375)
            grain = dice.integers(-6, 7, (3000, 4000, 1), dtype=np.int16)
            levels = np.asarray(base.resize((4000, 3000), Image.LANCZOS), dtype=np.int16) + grain
            file = into / f"large-{number}.jpg"
            Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(file, quality=90)
            large_files.append(str(file))

        torch.manual_seed(0)
        weights = into / "vgg16.pth"
        torch.save(vgg16().state_dict(), weights)
        embedding, hidden = captioner["embedding"], captioner["hidden"]
        shapes = {
            "image_embedding.weight": (embedding, captioner["features"]),
            "image_embedding.bias": (embedding,),
            "word_embedding.weight": (words, embedding),
            "lstm.weight_ih": (4 * hidden, embedding),
            "lstm.weight_hh": (4 * hidden, hidden),
            "lstm.bias_ih": (4 * hidden,),
            "lstm.bias_hh": (4 * hidden,),
            "output.weight": (words, hidden),
            "output.bias": (words,),
        }
        from safetensors.torch import save_file

        tensors = {name: torch.randn(shape) * (0.1 if len(shape) > 1 else 0.01) for name, shape in shapes.items()}
        # So that no two words are about as likely: what is compared must not hang on the last digit.
        tensors["output.weight"] *= 10
        save_file(tensors, into / "captioner.safetensors")
        vocabulary = ["<start>", "<end>", "<unk>"] + [f"word{word}" for word in range(3, words)]
        (into / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n")
        files = {}
        for name, rows in ("features", pictures), ("cached", cached):
            # Half of them zero, as after a ReLU.
            values = np.maximum(dice.standard_normal((rows, DIMENSIONS), dtype=np.float32), 0)
            (into / name).write_bytes(values.tobytes())
            files[name] = str(into / name)
        return {
            "small": small,
            "large": large_files,
            "weights": str(weights),
            "captioner": {
                "config": captioner,
                "vocabulary": str(into / "vocabulary.txt"),
                "weights": str(into / "captioner.safetensors"),
            },
            **files,
        }

    def encoder(self, weights, precision, how, batch):
        if how == "max-autotune":
            return self.tuned(weights, KINDS[precision], batch)
        model = Fc7(weights)
        self.kind = torch.bfloat16 if precision == "bf16" and how == "compiled" else torch.float32
        if how == "compiled":
            from torch._inductor import config

            config.freezing = True
            model = torch.compile(model.to(self.kind).to(memory_format=torch.channels_last))
        elif how == "openvino":
            import openvino

            found = openvino.convert_model(model, example_input=torch.zeros(batch, 3, 224, 224))
            found.reshape([batch, 3, 224, 224])
            hints = {
                "INFERENCE_PRECISION_HINT": "bf16",
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": THREADS,
            }
            compiled = openvino.Core().compile_model(found, "CPU", hints)
            model = lambda x: torch.from_numpy(compiled(x.numpy())[0])
        self.model = model
        # Compiles.
        self.run(torch.zeros(batch, 3, 224, 224))

    def tuned(self, weights, kind, batch):
        """The network for the table of the GPU, see gpu.py."""
        from torch._inductor import config, select_algorithm

        # Tables of all that was tried are longer than what is looked for.
        select_algorithm.PRINT_AUTOTUNE = config.max_autotune_report_choices_stats = False
        warnings.simplefilter("ignore")
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        model = Fc7OfPixels(weights, kind).to(self.device).to(memory_format=torch.channels_last)
        self.model = torch.compile(model, mode="max-autotune")
        # Compiles, tunes, and records what is to be replayed.
        for _ in range(3):
            self.features_of(torch.zeros(batch, 224, 224, 3, dtype=torch.uint8))

    def features_of(self, pixels):
        """From bytes in memory to features in memory."""
        if self.device.type == "cuda":
            if getattr(self, "pinned", pixels[:0]).shape != pixels.shape:
                self.pinned = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
            # The batch before has ended, and so has the upload from there.
            self.pinned.copy_(pixels)
            pixels = self.pinned.to(self.device, non_blocking=True)
        return self.model(pixels).cpu()

    def run(self, x):
        if self.kind == torch.bfloat16:
            x = x.to(self.kind).to(memory_format=torch.channels_last)
        return self.model(x).float()

    def decode(self, files):
        for file in files:
            SQUARE(Image.open(file).convert("RGB"))

    def fc7(self, files, batch, into):
        features = torch.cat([self.run(squares) for squares in batches(files, batch)])
        return {"seconds": self.elapsed(), "written": pathlib.Path(into).write_bytes(features.numpy().tobytes())}

    def model_alone(self, count, batch, pixels=None, into=None):
        if pixels is None:
            x = torch.zeros(batch, 3, 224, 224)
            for _ in range(-(-count // batch)):
                self.run(x)
            return None
        x = torch.from_numpy(np.fromfile(pixels, np.uint8)).view(batch, 224, 224, 3)
        self.started = time.perf_counter()
        for _ in range(-(-count // batch)):
            features = self.features_of(x)
        self.wait()
        return {"seconds": self.elapsed(), "written": pathlib.Path(into).write_bytes(features.numpy().tobytes())}

    def captioner(self, config, vocabulary, weights):
        from safetensors.torch import load_file

        self.words = pathlib.Path(vocabulary).read_text().split()
        self.captioner_weights = load_file(weights, device=str(self.device))
        w = self.captioner_weights
        # What each word gives the LSTM's gates, once for all.
        self.word_gates = F.linear(
            w["word_embedding.weight"], w["lstm.weight_ih"], w["lstm.bias_ih"] + w["lstm.bias_hh"]
        )

    def beam(self, features, decoding, repeats=1):
        values = array.array("f", pathlib.Path(features).read_bytes())
        features = torch.tensor(values).view(-1, DIMENSIONS)
        self.started = time.perf_counter()
        for _ in range(repeats):
            found = self.search(features.to(self.device), decoding["beam"], decoding["max_tokens"])
            captions = [" ".join(self.words[token] for token in tokens) for tokens in found]
        self.wait()
        return {"seconds": self.elapsed(), "captions": captions}

    def search(self, features, width, steps):
        """The best caption of each picture: beam search without length penalty, for all at once; what is
        decided leaves the batch."""
        w = self.captioner_weights
        pictures, on = len(features), {"device": self.device}
        hidden = w["lstm.weight_hh"].size(1)

        def cell(gates, c):
            i, f, g, o = gates.chunk(4, 1)
            c = f.sigmoid().mul_(c).add_(i.sigmoid().mul_(g.tanh()))
            return o.sigmoid().mul_(c.tanh()), c

        image = F.linear(features, w["image_embedding.weight"], w["image_embedding.bias"])
        gates = F.linear(image, w["lstm.weight_ih"], w["lstm.bias_ih"] + w["lstm.bias_hh"])
        h, c = cell(gates, torch.zeros(pictures, hidden, **on))

        def likeliest(tokens, h, c, first):
            h, c = cell(torch.addmm(self.word_gates[tokens], h, w["lstm.weight_hh"].t()), c)
            log_probs = F.linear(h, w["output.weight"], w["output.bias"]).log_softmax(-1)
            # One by one: indices would have to go to a GPU first.
            for never in (START, UNK, END) if first else (START, UNK):
                log_probs[:, never] = -torch.inf
            return h, c, *log_probs.topk(width, -1)

        h, c, live, token = likeliest(torch.full((pictures,), START, **on), h, c, True)
        h, c = h.repeat_interleave(width, 0), c.repeat_interleave(width, 0)
        tokens = torch.full((pictures, width, steps), END, **on)
        tokens[:, :, 0] = token
        finished = torch.full((pictures, width), -torch.inf, **on)
        finished_tokens = torch.full((pictures, width, steps), END, **on)
        open_pictures = torch.arange(pictures, **on)
        best = [None] * pictures

        def leave(which):
            """Notes the best captions of the pictures at these places."""
            done = finished[which, :1] > -torch.inf
            rows = torch.where(done, finished_tokens[which, 0], tokens[which, 0])
            # All at once: a GPU is waited for each time.
            for picture, row in zip(open_pictures[which].tolist(), rows.tolist()):
                best[picture] = row[: row.index(END)] if END in row else row

        for step in range(1, steps):
            h, c, log_probs, token = likeliest(token.reshape(-1), h, c, False)
            count = len(open_pictures)
            summed = (live.view(count, width, 1) + log_probs.view(count, width, width)).view(count, -1)
            token = token.view(count, -1)
            parents = torch.arange(width, **on).repeat_interleave(width).expand(count, -1)
            ends = token == END
            histories = torch.cat([finished_tokens, tokens.repeat_interleave(width, 1)], 1)
            finished, places = torch.cat([finished, summed.masked_fill(~ends, -torch.inf)], 1).topk(width, 1)
            finished_tokens = histories.gather(1, places[:, :, None].expand(-1, -1, steps))
            live, places = summed.masked_fill(ends, -torch.inf).topk(width, 1)
            token, parents = token.gather(1, places), parents.gather(1, places)
            tokens = tokens.gather(1, parents[:, :, None].expand(-1, -1, steps))
            tokens[:, :, step] = token
            rows = (torch.arange(count, **on)[:, None] * width + parents).view(-1)
            h, c = h[rows], c[rows]
            # Sums of logarithms only fall.
            decided = live[:, 0] <= finished[:, -1]
            if decided.any():
                leave(decided.nonzero().view(-1))
                kept = ~decided
                rows = kept.repeat_interleave(width)
                h, c, live, token, tokens = h[rows], c[rows], live[kept], token[kept], tokens[kept]
                finished, finished_tokens, open_pictures = finished[kept], finished_tokens[kept], open_pictures[kept]
                if not len(open_pictures):
                    return best
        leave(torch.arange(len(open_pictures), **on))
        return best

    def cache_write(self, features, dims, out):
        values = np.frombuffer(pathlib.Path(features).read_bytes(), np.float32).reshape(-1, dims)
        pathlib.Path(out).mkdir()
        self.started = time.perf_counter()
        ids = [hashlib.blake2b(number.to_bytes(8, "little"), digest_size=32).hexdigest() for number in range(len(values))]
        # Rounded to bfloat16, to nearest, ties to even.
        bits = values.view(np.uint32)
        rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) & np.uint32(0xFFFF0000)
        write(f"{out}/part.parquet", ids, rounded.view(np.float32))
        return {"seconds": self.elapsed()}

    def cache_read(self, count, dims, out):
        import pyarrow.parquet as pq

        table = pq.read_table(f"{out}/part.parquet")
        values = table["embedding"].combine_chunks().values.to_numpy(zero_copy_only=True).reshape(-1, dims)
        # Row by row, by id, as they are asked for.
        places = {name: place for place, name in enumerate(table["image_id"].to_pylist())}
        rows = [values[place].copy() for place in places.values()]
        assert len(rows) == count

    def archive(self, directory, out):
        """As clip-retrieval does it: list the files, load and encode batches, write what came of them."""
        files = sorted(str(path) for path in pathlib.Path(directory).rglob("*.jpg"))
        pathlib.Path(out).mkdir()
        features = torch.cat([self.run(squares) for squares in batches(files, 64)])
        write(f"{out}/part.parquet", files, features.numpy())
        return {"seconds": self.elapsed()}

    def elapsed(self):
        return time.perf_counter() - self.started

    def answer(self, request):
        do = request.pop("do").replace("-", "_")
        work = getattr(self, {"model": "model_alone", "device": "use"}.get(do, do))
        self.started = time.perf_counter()
        answer = work(**request)
        return answer or {"seconds": self.elapsed()}


def made(dice, width, height):
    """A picture with as much detail at each scale as photographs have."""
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falling = 1 / np.maximum(np.hypot(down, across), 1 / width)
    noise = dice.standard_normal((3, *falling.shape)) + 1j * dice.standard_normal((3, *falling.shape))
    # The colours of a photograph go together.
    noise = 0.8 * noise[:1] + 0.2 * noise
    levels = np.fft.irfft2(noise * falling, s=(height, width))
    levels = 128 + 50 * levels / levels.std()
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def write(file, ids, features):
    """One Parquet file, encoded as showtell's cache is, and on the disk before it counts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    offsets = np.arange(0, features.size + 1, features.shape[1], dtype=np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(features.reshape(-1)))
    pq.write_table(
        pa.table({"image_id": pa.array(ids), "embedding": lists}),
        file,
        row_group_size=256,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        use_byte_stream_split=["embedding.list.element"],
        write_statistics=["image_id"],
    )
    with open(file, "rb+") as written:
        os.fsync(written.fileno())


def main():
    worker = Worker()
    # Nothing that a library prints must get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            text = " ".join(str(error).split())
            answer = {"error": f"{type(error).__name__}: {text[:200]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
