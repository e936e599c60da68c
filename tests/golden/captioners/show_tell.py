"""Makes the golden values of Show and Tell with PyTorch: how it learns, and what its search finds.

    pip install torch==2.11.0 safetensors
    python show_tell.py

The network is the one of arXiv 1411.4555, equations 10 to 12: the linear image embedding is fed to
the LSTM first, without a loss; then start token and words, each to predict the next.
"""

import torch
from torch import nn

from plain import END, START, WORDS, write

FEATURES, EMBEDDING, HIDDEN = 12, 10, 14


class ShowTell(nn.Module):
    def __init__(self):
        super().__init__()
        self.image_embedding = nn.Linear(FEATURES, EMBEDDING)
        self.word_embedding = nn.Embedding(WORDS, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
        self.output = nn.Linear(HIDDEN, WORDS)

    def named_weights(self):
        names = {
            "lstm.weight_ih_l0": "lstm.weight_ih",
            "lstm.weight_hh_l0": "lstm.weight_hh",
            "lstm.bias_ih_l0": "lstm.bias_ih",
            "lstm.bias_hh_l0": "lstm.bias_hh",
        }
        state = self.state_dict()
        return {names.get(name, name): tensor.clone() for name, tensor in state.items()}

    def loss(self, features, captions):
        """Mean negative log-probability of a token, the end tokens included."""
        losses = []
        for picture, words in captions:
            image = self.image_embedding(features[picture]).view(1, 1, EMBEDDING)
            fed = self.word_embedding(torch.tensor([[START] + words]))
            outputs, _ = self.lstm(torch.cat([image, fed], dim=1))
            logits = self.output(outputs[0, 1:])
            target = torch.tensor(words + [END])
            losses.append(nn.functional.cross_entropy(logits, target, reduction="none"))
        return torch.cat(losses).mean()

    def start(self, features):
        return self.lstm(self.image_embedding(features).view(1, 1, EMBEDDING))[1]

    def step(self, state, token):
        output, state = self.lstm(self.word_embedding(torch.tensor([[token]])), state)
        return self.output(output[0, 0]).log_softmax(-1), state


def main():
    torch.manual_seed(30)
    dimensions = {"features": FEATURES, "embedding": EMBEDDING, "hidden": HIDDEN}
    write("show_tell", ShowTell(), (FEATURES,), 31, dimensions)


if __name__ == "__main__":
    main()
