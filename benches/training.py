"""Measures how fast Show and Tell learns from cached features, here and in PyTorch, in one run.

    pip install torch==2.11.0 numpy
    taskset -c 0 python benches/training.py --showtell target/release/showtell --captions Flickr8k.token.txt

At the size of the O'Reilly tutorial (fc7 of 4096 values, embeddings and LSTM of 256, batches of 128,
Adam 1e-3), on one thread each, the two take turns. Both learn from the same captions, words and features, which are
random: what is in them does not change the time. The loop of PyTorch is what its tutorials teach:
`nn.LSTM` over captions padded to the longest of the batch, `cross_entropy` with `ignore_index`; with
--packed it has `pack_padded_sequence` and computes logits of real words only. With --precision bf16 both
learn in mixed precision, PyTorch by `torch.autocast`.
"""

import argparse
import collections
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

FEATURES, SIZE, BATCH, RATE = 4096, 256, 128, 1e-3
START, END, UNK, PADDING = 0, 1, 2, -1

RECIPE = """
name = "speed"
output = "{output}"
seed = 1
[data]
kind = "captions"
path = "{captions}"
like_length = {like_length}
[data.features]
matrix = "{features}"
[data.vocabulary]
words = "spaces"
at_least = {threshold}
[data.validation]
split = "train"
images = 1
[encoder]
architecture = "vgg16"
layer = "fc7"
widths = [64, 128, 256, 512, 512]
hidden = 4096
[encoder.preprocess]
resize = {{ mode = "short-side", size = 256 }}
crop = 224
channels = "rgb"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
[captioner]
architecture = "show-and-tell"
features = 4096
embedding = 256
hidden = 256
[decoding]
beam = 1
max_tokens = 5
length_penalty = 0.0
[training]
epochs = 1
batch = 128
learning_rate = 0.001
schedule = {{ kind = "constant" }}
precision = "{precision}"
"""


class ShowTell(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.image = nn.Linear(FEATURES, SIZE)
        self.embedding = nn.Embedding(words, SIZE)
        self.lstm = nn.LSTM(SIZE, SIZE, batch_first=True)
        self.output = nn.Linear(SIZE, words)

    def loss(self, features, inputs, targets, lengths, packed):
        fed = torch.cat([self.image(features).unsqueeze(1), self.embedding(inputs)], dim=1)
        if packed:
            outputs, _ = self.lstm(pack_padded_sequence(fed, lengths + 1, batch_first=True, enforce_sorted=False))
            outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
            real = targets != PADDING
            return nn.functional.cross_entropy(self.output(outputs[:, 1:][real]), targets[real])
        outputs, _ = self.lstm(fed)
        logits = self.output(outputs[:, 1:])
        return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING)


def captions_of(path, images):
    """[(number of the image, words)] of the first images, as showtell reads them with words = spaces."""
    numbers, captions = {}, []
    for line in pathlib.Path(path).read_text().splitlines():
        name, caption = line.split("\t", 1)
        number = numbers.setdefault(name.rsplit("#", 1)[0], len(numbers))
        if number < images:
            captions.append((number, caption.lower().split()))
    return captions


def in_pytorch(captions, features, threshold, packed, precision):
    """Tokens per second of an epoch."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    counts = collections.Counter(word for _, words in captions for word in words)
    kept = [word for word, count in counts.most_common() if count >= threshold]
    ids = {word: number for number, word in enumerate(kept, 3)}
    encoded = [(image, [ids.get(word, UNK) for word in words]) for image, words in captions]
    matrix = torch.from_numpy(numpy.load(features, mmap_mode="c"))
    model = ShowTell(len(kept) + 3)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    order = torch.randperm(len(encoded)).tolist()
    begun, tokens, first, last = None, 0, 0.0, 0.0
    for at in range(0, len(order), BATCH):
        batch = [encoded[place] for place in order[at : at + BATCH]]
        lengths = torch.tensor([len(words) + 1 for _, words in batch])
        inputs = torch.full((len(batch), int(lengths.max())), END)
        targets = torch.full_like(inputs, PADDING)
        for row, (_, words) in enumerate(batch):
            inputs[row, : len(words) + 1] = torch.tensor([START] + words)
            targets[row, : len(words) + 1] = torch.tensor(words + [END])
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model.loss(matrix[[image for image, _ in batch]], inputs, targets, lengths, packed)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        last = loss.item()
        if begun is None:
            # The first step makes what the others find made.
            begun, first = time.perf_counter(), last
        else:
            tokens += int(lengths.sum())
    assert last < first
    return tokens / (time.perf_counter() - begun)


def here(showtell, recipe):
    command = [showtell, "train", "--config", recipe, "--device", "cpu", "--restart"]
    run = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"tokens_per_second=(\d+)", run.stderr)
    assert run.returncode == 0 and found, run.stderr
    return float(found[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--showtell", required=True)
    parser.add_argument("--captions", required=True, help="Flickr8k.token.txt, or another token file")
    parser.add_argument("--images", type=int, default=1000, help="so many of its images")
    parser.add_argument("--threshold", type=int, default=5, help="occurrences of a word that is kept")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--packed", action="store_true")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of both")
    parser.add_argument("--like-length", action="store_true", help="batches of like length, here only")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        captions = captions_of(arguments.captions, arguments.images)
        lines = pathlib.Path(arguments.captions).read_text().splitlines()[: len(captions)]
        (folder / "captions.token").write_text("\n".join(lines) + "\n")
        features = folder / "features.npy"
        random = numpy.random.default_rng(1)
        numpy.save(features, numpy.maximum(random.standard_normal((arguments.images, FEATURES), "f4"), 0))
        recipe = folder / "recipe.toml"
        recipe.write_text(
            RECIPE.format(
                output=folder / "model",
                captions=folder / "captions.token",
                features=features,
                threshold=arguments.threshold,
                like_length=str(arguments.like_length).lower(),
                precision=arguments.precision,
            )
        )
        rates = {"showtell": [], "PyTorch": []}
        for _ in range(arguments.turns):
            pytorch = in_pytorch(
                captions, features, arguments.threshold, arguments.packed, arguments.precision
            )
            rates["PyTorch"].append(pytorch)
            rates["showtell"].append(here(arguments.showtell, recipe))
        for name, measured in rates.items():
            each = ", ".join(f"{rate:.0f}" for rate in measured)
            print(f"{name:<9} {statistics.median(measured):8.0f} tokens/s  ({each})")
        ratio = statistics.median(rates["showtell"]) / statistics.median(rates["PyTorch"])
        print(f"ratio     {ratio:8.2f}")


if __name__ == "__main__":
    main()
