"""Makes the golden values of a narrow VGG-16 with torchvision.

    pip install torch==2.11.0 torchvision==0.26.0 safetensors
    python make.py

Writes, beside this file:

    narrow.safetensors         weights under torchvision's names
    narrow.pth                 the same, as torch.save writes them
    narrow-legacy.pth          the same, as it wrote them before PyTorch 1.6
    kinds.pth                  a transposed tensor and others of several kinds, and what is no tensor
    kinds-legacy.pth           the same in the older format
    narrow-timm.safetensors    the same under timm's names, fc6 and fc7 as convolutions
    narrow.json                fc7 and conv5_3 of pictures that the test draws by the same formula
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from torchvision.models.vgg import VGG

HERE = pathlib.Path(__file__).resolve().parent
WIDTHS = [2, 3, 4, 5, 6]
HIDDEN = 16
SIDE = 64
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

STAGES = [2, 2, 3, 3, 3]


def narrow():
    torch.manual_seed(20)
    layers = []
    for width, count in zip(WIDTHS, STAGES):
        layers += [width] * count + ["M"]
    features = torch.nn.Sequential(*convolutions(layers))
    model = VGG(features, init_weights=False)
    pooled = SIDE // 32
    model.avgpool = torch.nn.AdaptiveAvgPool2d((pooled, pooled))
    model.classifier[0] = torch.nn.Linear(WIDTHS[-1] * pooled * pooled, HIDDEN)
    model.classifier[3] = torch.nn.Linear(HIDDEN, HIDDEN)
    model.classifier[6] = torch.nn.Linear(HIDDEN, 10)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def convolutions(layers):
    made, inputs = [], 3
    for layer in layers:
        if layer == "M":
            made.append(torch.nn.MaxPool2d(2, 2))
        else:
            made += [torch.nn.Conv2d(inputs, layer, 3, padding=1), torch.nn.ReLU(inplace=True)]
            inputs = layer
    return made


def picture(number):
    """Levels that differ at every pixel and channel: `[3, SIDE, SIDE]`, u8."""
    y, x, c = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), torch.arange(3), indexing="ij")
    levels = (x * 7 + y * 13 + c * 71 + x * y * (number + 1)) % 256
    return levels.permute(2, 0, 1).to(torch.uint8)


def kinds():
    counted = torch.arange(6).reshape(2, 3)
    state = {
        "transposed": counted.float().T,
        "part": torch.arange(10.0)[3:7],
        "parameter": torch.nn.Parameter(counted.double()),
        "half": counted.half() / 2,
        "bfloat16": counted.bfloat16(),
        "long": counted - 3,
        "bool": counted > 2,
        "scalar": torch.tensor(7, dtype=torch.int16),
        "empty": torch.zeros(0, 4),
        "version": 1.5,
    }
    return {"epoch": -70000, "state_dict": state, "args": ["a", (None, True, {1})]}


def main():
    model = narrow()
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, HERE / "narrow.safetensors")
    torch.save(model.state_dict(), HERE / "narrow.pth")
    torch.save(model.state_dict(), HERE / "narrow-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(kinds(), HERE / "kinds.pth")
    torch.save(kinds(), HERE / "kinds-legacy.pth", _use_new_zipfile_serialization=False)

    pooled = SIDE // 32
    timm = {name: tensor for name, tensor in weights.items() if name.startswith("features.")}
    timm["pre_logits.fc1.weight"] = weights["classifier.0.weight"].reshape(HIDDEN, WIDTHS[-1], pooled, pooled).contiguous()
    timm["pre_logits.fc1.bias"] = weights["classifier.0.bias"]
    timm["pre_logits.fc2.weight"] = weights["classifier.3.weight"].reshape(HIDDEN, HIDDEN, 1, 1).contiguous()
    timm["pre_logits.fc2.bias"] = weights["classifier.3.bias"]
    save_file(timm, HERE / "narrow-timm.safetensors")

    pixels = torch.stack([picture(number) for number in range(3)]).float() / 255
    pixels = (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    with torch.no_grad():
        # Everything but the last pooling: the regions, row by row.
        conv5_3 = model.features[:-1](pixels).permute(0, 2, 3, 1).flatten(1)
        flat = model.avgpool(model.features(pixels)).flatten(1)
        fc7 = model.classifier[:5](flat)  # linear, ReLU, dropout, linear, ReLU
    golden = {"widths": WIDTHS, "hidden": HIDDEN, "side": SIDE}
    golden |= {"fc7": fc7.tolist(), "conv5_3": conv5_3.tolist()}
    (HERE / "narrow.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
