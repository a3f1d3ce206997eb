"""A peer: fastai's `fine_tune`, as its course has it, on the same backbone with the same weights file. It knows nothing of this package.

Run by `peers.py` with the Python of an environment that holds requirements.txt. It watches 15 % of the training photos; the test
photos are read once, at the end.
"""

import json
import time
from pathlib import Path

import fastai
import timm
import torch
from fastai.vision.all import (
    Callback,
    ImageDataLoaders,
    Resize,
    ResizeMethod,
    accuracy,
    aug_transforms,
    get_image_files,
    set_seed,
    vision_learner,
)  # fmt: skip
from peer_pytorch import options, weights_file


class Seconds(Callback):
    "Seconds of each fit: `fine_tune` has two, of the head and of all layers"

    def __init__(self):
        self.found = []

    def before_fit(self):
        self.begun = time.perf_counter()

    def after_fit(self):
        self.found.append(time.perf_counter() - self.begun)


def main():
    chosen = options(__doc__).parse_args()
    set_seed(42)
    photos = Path(chosen.data)
    data = ImageDataLoaders.from_folder(  # 15 % of the training photos to watch, as ours
        photos / "train", valid_pct=0.15, seed=42, item_tfms=Resize(chosen.image_size, ResizeMethod.Squish), bs=64, num_workers=2,
        batch_tfms=aug_transforms(),
    )  # fmt: skip
    watch = Seconds()
    learner = vision_learner(
        data, "tf_efficientnet_lite0", pretrained=False, metrics=accuracy, cbs=watch
    )
    if chosen.weights == "imagenet":
        body = learner.model[
            0
        ].model  # all but the classifier, whose two tensors come last in the file
        body.load_state_dict(
            dict(
                zip(
                    body.state_dict(),
                    torch.load(weights_file(), map_location="cpu", weights_only=True).values(),
                )
            )
        )
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(chosen.fine_tune_epochs)  # after one epoch of the head
    epochs = 1, chosen.fine_tune_epochs
    stages = {stage: {"seconds": seconds, "epochs": count}
              for stage, seconds, count in zip(("feature_extraction", "fine_tuning"), watch.found, epochs) if count}  # fmt: skip
    test = data.test_dl(get_image_files(photos / "test"), with_labels=True)
    with learner.no_bar():
        right = float(learner.validate(dl=test)[1])
    versions = {"fastai": fastai.__version__, "torch": torch.__version__, "timm": timm.__version__}
    Path(chosen.json).write_text(
        json.dumps({"stages": stages, "test_accuracy": right, "versions": versions})
    )


if __name__ == "__main__":
    main()
