"""Makes the golden values of Show, Attend and Tell, soft attention, with PyTorch.

    pip install torch==2.11.0 safetensors
    python show_attend_tell.py

The network is the one of arXiv 1502.03044: initial state from the mean annotation vector, additive
attention (section 4.2), the gate beta and the doubly stochastic term (section 4.2.1), deep output
(equation 7). The score has no bias: the softmax would take it away again.
"""

import torch
from torch import nn

from plain import END, START, WORDS, write

REGIONS, CHANNELS, EMBEDDING, HIDDEN, ATTENTION = 9, 7, 10, 14, 8
DOUBLY_STOCHASTIC = 0.5


class ShowAttendTell(nn.Module):
    def __init__(self):
        super().__init__()
        self.initial_hidden = nn.Linear(CHANNELS, HIDDEN)
        self.initial_cell = nn.Linear(CHANNELS, HIDDEN)
        self.word_embedding = nn.Embedding(WORDS, EMBEDDING)
        self.region = nn.Linear(CHANNELS, ATTENTION)
        self.state = nn.Linear(HIDDEN, ATTENTION, bias=False)
        self.score = nn.Linear(ATTENTION, 1, bias=False)
        self.gate = nn.Linear(HIDDEN, 1)
        self.lstm = nn.LSTMCell(EMBEDDING + CHANNELS, HIDDEN)
        self.deep_hidden = nn.Linear(HIDDEN, EMBEDDING)
        self.deep_seen = nn.Linear(CHANNELS, EMBEDDING, bias=False)
        self.output = nn.Linear(EMBEDDING, WORDS)

    def named_weights(self):
        def name(of):
            for ours, theirs in [
                ("region.", "attention.region."),
                ("state.", "attention.state."),
                ("score.", "attention.score."),
                ("deep_hidden.", "deep_output.hidden."),
                ("deep_seen.", "deep_output.seen."),
            ]:
                if of.startswith(ours):
                    return theirs + of[len(ours) :]
            return of

        return {name(of): tensor.clone() for of, tensor in self.state_dict().items()}

    def first(self, annotations):
        mean = annotations.mean(0)
        return torch.tanh(self.initial_hidden(mean)), torch.tanh(self.initial_cell(mean))

    def next(self, annotations, state, token):
        """Log-probabilities, state, weights of the regions; one picture, no batch."""
        hidden, cell = state
        score = self.score(torch.tanh(self.region(annotations) + self.state(hidden)))
        weights = score.squeeze(-1).softmax(-1)
        seen = torch.sigmoid(self.gate(hidden)) * (weights.unsqueeze(-1) * annotations).sum(0)
        word = self.word_embedding(torch.tensor(token))
        fed = torch.cat([word, seen]).unsqueeze(0)
        hidden, cell = self.lstm(fed, (hidden.unsqueeze(0), cell.unsqueeze(0)))
        hidden, cell = hidden[0], cell[0]
        deep = torch.tanh(word + self.deep_hidden(hidden) + self.deep_seen(seen))
        return self.output(deep).log_softmax(-1), (hidden, cell), weights

    def loss(self, features, captions):
        """Equation 14, which is of one caption, summed over the captions and divided by their tokens."""
        objective, count = 0.0, 0
        for picture, words in captions:
            annotations = features[picture]
            state, looked = self.first(annotations), torch.zeros(REGIONS)
            for fed, wanted in zip([START] + words, words + [END]):
                log_probs, state, weights = self.next(annotations, state, fed)
                objective, count = objective - log_probs[wanted], count + 1
                looked = looked + weights
            objective = objective + DOUBLY_STOCHASTIC * ((1 - looked) ** 2).sum()
        return objective / count

    def start(self, features):
        return features, self.first(features)

    def step(self, state, token):
        annotations, state = state
        log_probs, state, _ = self.next(annotations, state, token)
        return log_probs, (annotations, state)


def main():
    torch.manual_seed(40)
    dimensions = {
        "regions": REGIONS,
        "channels": CHANNELS,
        "embedding": EMBEDDING,
        "hidden": HIDDEN,
        "attention": ATTENTION,
        "gaze": "soft",
    }
    write("show_attend_tell", ShowAttendTell(), (REGIONS, CHANNELS), 41, dimensions)


if __name__ == "__main__":
    main()
