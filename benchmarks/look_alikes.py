"""From which similarity two photos show the same scene: a head on frozen features, with such photos on one side of a split.

Validation should be as hard as photos that were taken at another time. Those are the validation photos of the data, where
its authors chose them, or else a random part of the training photos, which is as it should be where there are no bursts.
Every round cuts our validation photos with another seed, and the temperature is fitted on them. The threshold is decided
by this benchmark, so it reads no test photos.
"""

from dataclasses import replace

import measure
import numpy as np

THRESHOLDS = 0.6, 0.65, 0.7, 0.75, 0.8
TABLES = {
    "grouped": ("Photos that are in a group", "%"),
    "largest": ("Photos of the largest group", "photos"),
    "validation": ("Top-1 on our validation photos", "%"),
    "held_out": ("Top-1 on the held-out photos", "%"),
    "calibration": ("Calibration error on the held-out photos", "points"),
}


def options():
    "Those of every benchmark, and the name of what it writes"
    parser = measure.options(__doc__.splitlines()[0], repeats=5, image_size=224, decides=True)
    parser.add_argument(
        "--name", default="look_alikes", help="name of the files written (default: look_alikes)"
    )
    return parser


def measure_cut(split, held, features, names, config):
    "Accuracy of a head on the validation photos of `split` and on the `held` photos, and its calibration error on these"
    from foodvision.calibration import calibration_error, fit_temperature
    from foodvision.linear_head import fit_head
    from foodvision.metrics import Predictions

    training = np.stack([features[name] for name in split.train.names])
    mean, deviation = training.mean(0), training.std(0) + 1e-3
    setting = {
        "learning_rate": config.head_learning_rate, "weight_decay": 10 * config.head_weight_decay, "dropout": 0.5,
    }  # fmt: skip
    x = (training - mean) / deviation
    kernel, bias = fit_head(x, split.train.labels, len(names), setting, config)

    def predict(part):
        x = (np.stack([features[name] for name in part.names]) - mean) / deviation
        return Predictions(part.names, part.labels, (x @ kernel + bias).astype("float32"), names)

    validation, held_out = predict(split.validation), predict(held)
    error = calibration_error(held_out, fit_temperature(validation))
    return {
        "validation": 100 * validation.correct.mean(),
        "held_out": 100 * held_out.correct.mean(),
        "calibration": 100 * error,
    }


def main():
    chosen = options().parse_args()
    if chosen.quick:
        chosen.repeats = 1
    from foodvision import look_alikes
    from foodvision.audit import frozen_features
    from foodvision.run import Config

    data, held = measure.load_to_decide(chosen)
    config = Config(backbone=chosen.backbone, weights=chosen.weights, image_size=chosen.image_size)
    data, computed = frozen_features(replace(data, test=held), config)
    held, learnt = data.test, len(data.train) + len(data.validation)
    names, labels = (
        np.concatenate([getattr(split, part) for split in (data.train, data.validation)])
        for part in ("names", "labels")
    )
    data = replace(data, test=held.take(slice(0, 0)), held_out=("validation",))
    features = dict(zip([*names, *held.names], computed))
    report = measure.Report(chosen.name, "Photos that look alike on one side of a split", chosen, replace(data, validation=held))  # fmt: skip
    measured = {}
    for threshold in (1.01, *THRESHOLDS):
        look_alikes.ALIKE = threshold
        groups = [names[group] for group in look_alikes.find_look_alikes(computed[:learnt], labels)]
        row = "at random" if threshold > 1 else f"{threshold:g}"
        cut = [*groups, names[:1]]  # a group of one photo: each seed cuts anew without groups too
        measured[row] = [
            measure_cut(
                look_alikes.hold_together(data, cut, 0.15, seed),
                held,
                features,
                data.class_names,
                replace(config, seed=seed),
            )
            for seed in range(chosen.repeats)
        ]
        sizes = [len(group) for group in groups]
        described = {"grouped": 100 * sum(sizes) / len(names), "largest": max(sizes, default=1)}
        measured[row] = [{**cut, **described} for cut in measured[row]]
        print(f"{row}: {len(groups):,} groups, {described}", flush=True)
    for name, (title, unit) in TABLES.items():
        values = {row: [float(cut[name]) for cut in cuts] for row, cuts in measured.items()}
        report.table(title, unit, values, "at random", better="more")
    report.remark("No test photo was read.")
    report.write()


if __name__ == "__main__":
    main()
