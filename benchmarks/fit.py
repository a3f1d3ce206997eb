"""How a photo becomes a square: squashed, cropped to its middle, or padded with bars (`--fit`); a head on features of each.

The backbone is frozen and sees each photo once per fit; every round trains the heads with another seed. The default is
decided by this benchmark, so it reads no test photos: it measures on the validation photos of the data, or with `--folds`
on all training and validation photos, each by a head that was trained without it.
"""

from dataclasses import replace
from typing import get_args

import measure
import numpy as np


def options():
    "Those of every benchmark, and how to measure where validation photos are few"
    parser = measure.options(__doc__.splitlines()[0], repeats=5, image_size=224, decides=True)
    parser.add_argument(
        "--folds",
        type=int,
        default=0,
        help="parts to cross-validate training and validation photos in (default: measure on validation photos)",
    )
    parser.add_argument("--name", default="fit", help="name of the files written (default: fit)")
    return parser


def right_answers(data, features, config, folds):
    "Whether the head is right about each photo that is measured on: bool (n,)"
    from foodvision.audit import cross_validate
    from foodvision.linear_head import fit_head

    labels = np.concatenate([data.train.labels, data.validation.labels])
    if folds:
        return (
            cross_validate(features, labels, len(data.class_names), config, folds).argmax(1)
            == labels
        )
    n, setting = len(data.train), {
        "learning_rate": config.head_learning_rate, "weight_decay": 10 * config.head_weight_decay, "dropout": 0.5,
    }  # fmt: skip
    kernel, bias = fit_head(features[:n], labels[:n], len(data.class_names), setting, config)
    return (features[n:] @ kernel + bias).argmax(1) == labels[n:]


def difference(right, other):
    "How many points `right` (rounds, photos) is above `other`, and the 95 % interval by its photos, which are paired"
    each = 100 * (right.mean(0) - other.mean(0))
    half = 1.96 * each.std() / len(each) ** 0.5
    return f"{each.mean():+.1f} points ({each.mean() - half:+.1f} to {each.mean() + half:+.1f})"


def add_table(report, right, what):
    "A table of top-1 by fit, and what is chance by the number of photos"
    from foodvision.metrics import wilson_interval

    photos = right["squash"].shape[1]
    rows = {name: list(100 * found.mean(1)) for name, found in right.items()}
    report.table(f"Top-1 on {photos:,} {what}", "%", rows, "squash", better="more")
    shares = []
    for name, found in right.items():
        low, high = (100 * end for end in wilson_interval(round(found.mean() * photos), photos))
        beside = "" if name == "squash" else f", {difference(found, right['squash'])} beside squash"
        shares.append(f"{name} {100 * found.mean():.1f} % ({low:.1f} to {high:.1f}){beside}")
    report.remark(f"{photos:,} {what}: {'; '.join(shares)}.")


def main():
    chosen = options().parse_args()
    if chosen.quick:
        chosen.repeats = 1
    from foodvision.audit import audit_features
    from foodvision.data import photo_sizes
    from foodvision.food101 import load_data
    from foodvision.run import Config, Fit

    photos = measure.some_of(load_data(chosen.data), chosen.classes, chosen.photos_per_class)
    photos = replace(photos, test=photos.test.take(slice(0, 0)))
    report = measure.Report(chosen.name, "How a photo becomes a square", chosen, photos)
    right = {}
    for fit in get_args(Fit):
        config = Config(data=chosen.data, backbone=chosen.backbone, weights=chosen.weights, image_size=chosen.image_size, fit=fit)  # fmt: skip
        data, features = audit_features(photos, config)
        right[fit] = np.array([right_answers(data, features, replace(config, seed=seed), chosen.folds)
                               for seed in range(chosen.repeats)])  # fmt: skip
    measured = (data.train, data.validation) if chosen.folds else (data.validation,)
    sizes = np.concatenate([photo_sizes(split, len(split)) for split in measured])
    kind = "photos by cross-validation" if chosen.folds else "validation photos"
    add_table(report, right, kind)
    oblong = sizes[:, 0] != sizes[:, 1]
    if oblong.any() and not oblong.all():
        add_table(
            report,
            {fit: found[:, oblong] for fit, found in right.items()},
            f"{kind} that are not square",
        )
    report.remark("Brackets have 95 % intervals: of a share by Wilson, of a difference by the photos that both answered. No test photo was read.")  # fmt: skip
    report.write()


if __name__ == "__main__":
    main()
