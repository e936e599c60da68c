"""Makes the golden values of the optimisers with PyTorch: what some steps make of a small tensor.

    pip install torch==2.11.0
    python optimisers.py
"""

import json
import pathlib

import torch

STEPS = 8
METHODS = {
    "sgd": (torch.optim.SGD, {}, {"kind": "sgd"}),
    "sgd_momentum": (torch.optim.SGD, {"momentum": 0.9}, {"kind": "sgd", "momentum": 0.9}),
    "adam": (
        torch.optim.Adam,
        {"betas": (0.8, 0.95), "eps": 1e-6},
        {"kind": "adam", "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6},
    ),
    "rmsprop": (
        torch.optim.RMSprop,
        {"alpha": 0.9, "eps": 1e-6},
        {"kind": "rmsprop", "decay": 0.9, "epsilon": 1e-6},
    ),
    "rmsprop_momentum": (
        torch.optim.RMSprop,
        {"alpha": 0.9, "eps": 1e-6, "momentum": 0.5},
        {"kind": "rmsprop", "decay": 0.9, "epsilon": 1e-6, "momentum": 0.5},
    ),
}
# Step sizes change, so that an optimiser that keeps one is found out.
RATES = [0.1 / (1 + step) for step in range(STEPS)]
# Gradients are clipped by value, then by norm.
CLIP_VALUE, CLIP_NORM = 0.8, 1.0


def main():
    generator = torch.Generator().manual_seed(7)
    # Of few digits, so that the file is short.
    start = torch.randint(-64, 64, (5,), generator=generator) / 64
    target = torch.randint(-64, 64, (5,), generator=generator) / 64
    golden = {
        "start": start.tolist(),
        "target": target.tolist(),
        "rates": RATES,
        "clip_value": CLIP_VALUE,
        "clip_norm": CLIP_NORM,
        "methods": [],
    }
    for name, (optimiser, options, described) in METHODS.items():
        tensor = start.clone().requires_grad_()
        learn = optimiser([tensor], lr=1.0, **options)
        values = []
        for rate in RATES:
            learn.param_groups[0]["lr"] = rate
            learn.zero_grad()
            ((tensor - target) ** 2).sum().backward()
            torch.nn.utils.clip_grad_value_([tensor], CLIP_VALUE)
            torch.nn.utils.clip_grad_norm_([tensor], CLIP_NORM)
            learn.step()
            values.append(tensor.tolist())
        golden["methods"].append({"name": name, "method": described, "values": values})
    here = pathlib.Path(__file__).resolve().parent
    (here / "optimisers.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
