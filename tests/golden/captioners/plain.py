"""What the references of the captioners share: data to learn from, and the plainest beam search.

A model here has `loss(features, captions)`, `start(features)` -> state, and
`step(state, token)` -> (log-probabilities of the next token, state) for one picture.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
WORDS = 23
START, END, UNK = 0, 1, 2
STEPS, PICTURES, CAPTIONS = 50, 6, 2
LEARNING_RATE, CLIP = 0.02, 1.0
# Width, most tokens, length penalty.
SEARCHES = [(1, 8, 0.0), (3, 8, 0.0), (3, 8, 0.7), (5, 4, 0.0), (8, 3, 1.0), (30, 5, 0.0)]


@torch.no_grad()
def beams(model, features, width, most, penalty):
    """[(words, log_prob, tokens, score, finished)], best first, by the contract of the table.

    One picture at a time, one row at a time, every row until the last step.
    """
    live, finished = [([], 0.0, START, model.start(features))], []
    for tokens in range(1, most + 1):
        grown = []
        for words, log_prob, last, state in live:
            log_probs, next_state = model.step(state, last)
            log_probs = log_probs.tolist()
            allowed = [
                token
                for token in range(WORDS)
                if token not in (START, UNK) and (token != END or words)
            ]
            allowed.sort(key=lambda token: -log_probs[token])
            for token in allowed[:width]:
                total = log_prob + log_probs[token]
                if token == END:
                    finished.append((words, total, tokens, total / tokens**penalty, True))
                else:
                    grown.append((words + [token], total, token, next_state))
        grown.sort(key=lambda partial: -partial[1])
        live = grown[:width]
    finished.sort(key=lambda beam: -beam[3])
    unfinished = [(words, total, most, total / most**penalty, False) for words, total, _, _ in live]
    return (finished[:width] + unfinished)[:width]


def batch(generator, shape):
    """Features, and captions that follow from them: something to learn."""
    # Of few digits, so that the file is short.
    features = torch.randint(0, 64, (PICTURES, *shape), generator=generator) / 64
    captions = []
    for picture in range(PICTURES):
        for _ in range(CAPTIONS):
            length = int(torch.randint(2, 7, (1,), generator=generator))
            first = int(features[picture].argmax())
            words = [3 + (first + 3 * place) % (WORDS - 3) for place in range(length)]
            if int(torch.randint(0, 8, (1,), generator=generator)) == 0:
                words[-1] = UNK
            captions.append((picture, words))
    return features, captions


def write(name, model, shape, seed, dimensions):
    """Learns for some steps, searches, and writes NAME.json, NAME-initial and NAME-trained."""
    generator = torch.Generator().manual_seed(seed)
    save_file(model.named_weights(), HERE / f"{name}-initial.safetensors")
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    steps = []
    for _ in range(STEPS):
        features, captions = batch(generator, shape)
        loss = model.loss(features, captions)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        flat = features.flatten(1).tolist()
        steps.append({"features": flat, "captions": captions, "loss": loss.item()})
    save_file(model.named_weights(), HERE / f"{name}-trained.safetensors")

    features, _ = batch(generator, shape)
    searches = []
    for width, most, penalty in SEARCHES:
        found = [beams(model, features[picture], width, most, penalty) for picture in range(PICTURES)]
        for of_picture in found:
            for above, below in zip(of_picture, of_picture[1:]):
                # Too close to call would make the order a matter of rounding.
                assert abs(above[3] - below[3]) > 1e-5, (above, below)
        searches.append({"beam": width, "max_tokens": most, "length_penalty": penalty, "pictures": found})

    golden = {
        "config": dimensions,
        "words": WORDS,
        "learning_rate": LEARNING_RATE,
        "clip": CLIP,
        "steps": steps,
        "pictures": features.flatten(1).tolist(),
        "searches": searches,
    }
    (HERE / f"{name}.json").write_text(json.dumps(golden) + "\n")
    print(name, [round(step["loss"], 3) for step in steps[::7]], searches[1]["pictures"][0])
