"""Which epoch of stage 2 to keep: the last, the one with the lowest validation loss, or the one with the highest validation accuracy.

Validation photos choose among the epochs; other photos of the training, of scenes that are in no training photo, say how good
the chosen one is. Every round trains the recipe whole with a seed of its own. What is kept is decided by this benchmark, so it
reads no test photos.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import measure
import numpy as np

WAYS = {
    "the last": lambda rows: len(rows) - 1,
    "the lowest validation loss": lambda rows: int(np.argmin([row["val_loss"] for row in rows])),
    "the highest validation accuracy": lambda rows: int(np.argmax([r["val_accuracy"] for r in rows])),
}  # fmt: skip


def options():
    "Those of every benchmark, and how long to train"
    parser = measure.options(__doc__.splitlines()[0], repeats=2, decides=True)
    parser.add_argument("--recipe", default="standard", help="what is trained (default: standard)")
    parser.add_argument("--epochs", type=int, default=0, help="of stage 2 (default: the recipe's)")
    parser.add_argument("--name", default="epochs", help="name of the files written (default: epochs)")  # fmt: skip
    return parser


def load_parts(chosen, config):
    "Data whose validation photos choose, and photos apart to measure on, none of which looks like one that is learnt from"
    from foodvision.audit import frozen_features
    from foodvision.look_alikes import find_look_alikes, hold_together

    data, choosing = measure.load_to_decide(chosen)
    data, features = frozen_features(replace(data, test=choosing), config)
    names, labels = (
        np.concatenate([getattr(split, part) for split in (data.train, data.validation)])
        for part in ("names", "labels")
    )
    groups = [names[group] for group in find_look_alikes(features[: len(names)], labels)]
    no_test = data.test.take(slice(0, 0))
    data = replace(data, test=no_test, held_out=("validation",))
    data = hold_together(data, [*groups, names[:1]], 0.15, 0)
    return replace(data, validation=choosing), data.validation


def train_once(config, data, measured_on):
    "The rows of stage 2, each with its accuracy on the photos to measure on"
    import keras

    from foodvision.model import build_model
    from foodvision.pipeline import decode_split
    from foodvision.run import Run
    from foodvision.training import AUGMENTED_SCALE, extract_features, fine_tune

    class Measure(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.reached = []

        def on_epoch_end(self, epoch, logs=None):
            answers = self.model.predict(measured_on.images, batch_size=64, verbose=0)
            self.reached.append(float(np.mean(answers.argmax(axis=1) == measured_on.labels)))

    watch, names, size = Measure(), list(data.class_names), config.image_size
    model = build_model(config.backbone, len(names), size, config.weights, seed=config.seed)
    decode = lambda split, side=size: decode_split(split, side, progress=False)
    training, validation = decode(data.train), decode(data.validation)
    with tempfile.TemporaryDirectory() as folder:
        place, facts = Path(folder) / "run", {"class_names": names, "policy": "float32"}
        run = Run.create(place, config, device={}, **facts)
        extract_features(run, model, training, validation)
        larger = decode(data.train, round(size * AUGMENTED_SCALE))
        fine_tune(run, model, larger, validation, own=[watch])
        rows = [row for row in run.history if row["stage"] == "fine_tuning"]
    return [row | {"reached": reached} for row, reached in zip(rows, watch.reached, strict=True)]


def main():
    chosen = options().parse_args()
    if chosen.quick:
        chosen.repeats, chosen.epochs = 1, 2
    from foodvision.recipes import make_config

    settings = {name: getattr(chosen, name) for name in ("backbone", "weights", "image_size")}
    settings |= {"fine_tune_epochs": chosen.epochs} if chosen.epochs else {}
    config = make_config({**settings, "recipe": chosen.recipe})
    data, apart = load_parts(chosen, config)
    report = measure.Report(chosen.name, "Which epoch of stage 2 to keep", chosen, data)
    from foodvision.pipeline import decode_split

    measured_on = decode_split(apart, config.image_size, progress=False)
    rounds = [
        train_once(replace(config, seed=config.seed + turn), data, measured_on)
        for turn in range(chosen.repeats)
    ]
    kept = {name: [way(rows) for rows in rounds] for name, way in WAYS.items()}
    reached = {
        name: [100 * rows[i]["reached"] for rows, i in zip(rounds, places)]
        for name, places in kept.items()
    }
    title = f"Top-1 on {len(apart):,} validation photos that choose nothing"
    report.table(title, "%", reached, "the last", better="more")
    for name, places in kept.items():
        of = ", ".join(f"{place + 1} of {len(rows)}" for rows, place in zip(rounds, places))
        report.remark(f"Epoch with {name}: {of}." if name != "the last" else f"The last epoch: {of}.")  # fmt: skip
    report.content["epochs"] = [
        [{name: round(row[name], 4) for name in ("val_loss", "val_accuracy", "reached")} for row in rows]
        for rows in rounds
    ]  # fmt: skip
    report.remark("No test photo was read.")
    report.write()


if __name__ == "__main__":
    main()
