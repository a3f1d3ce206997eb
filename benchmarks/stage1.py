"""Stage 1, the head on a frozen backbone: the tutorial sends every photo through the backbone in every epoch, we once.

Each measurement is a process of its own. Ours is measured with an empty cache, and once more with the cached features.
Before that, the frozen backbone alone: photos a second by the runtime that computes it. Times are what is compared; the
accuracy that both reach is on test photos, and no default is decided by it.
"""

import tempfile
from functools import partial
from pathlib import Path

import measure


def times(chosen, epochs):
    "Seconds of stage 1 by name, round by round, for a number of epochs"
    common = measure.passed_on(chosen, feature_epochs=epochs, fine_tune_epochs=0)
    with tempfile.TemporaryDirectory() as folder:
        caches = []

        def stage_1(script, cache):
            answer = measure.process(
                measure.python_files(script, *common), XDG_CACHE_HOME=str(cache)
            )["result"]
            accuracies.setdefault(script, []).append(answer["test_accuracy"])
            return answer["stages"]["feature_extraction"]["seconds"]

        def ours():
            caches.append(Path(folder) / str(len(caches)))
            return [stage_1("our_recipe.py", caches[-1]) for _ in ("first", "cached")]

        accuracies = {}
        measured = measure.in_turn(
            {
                "tutorial": lambda: stage_1("tutorial.py", Path(folder) / "none"),
                "ours": ours,
            },
            chosen.repeats,
        )
    first, cached = zip(*measured["ours"])
    values = {
        "tutorial": measured["tutorial"],
        "ours, first time": list(first),
        "ours, features cached": list(cached),
    }
    return values, {script: sum(found) / len(found) for script, found in accuracies.items()}


def passes(chosen, data):
    "Photos a second of the frozen backbone by name, round by round; both ways are warm"
    import numpy as np

    from foodvision.features import compile_forward, try_litert
    from foodvision.model import build_model, freeze, split_model
    from foodvision.pipeline import decode_split

    model = build_model(chosen.backbone, len(data.class_names), chosen.image_size, chosen.weights)
    freeze(model)
    extractor, _ = split_model(model)
    photos = decode_split(
        data.train.take(slice(16 if chosen.quick else 512)), chosen.image_size, progress=False
    ).images
    forward = compile_forward(extractor)
    litert, reason = try_litert(forward, photos[:8])
    if reason:
        raise SystemExit(
            f"LiteRT does not compute this backbone ({reason}), so there is nothing to compare."
        )
    ways = {"TensorFlow, 32 photos at a time": forward, "LiteRT, 8 photos at a time": litert}

    def rate(compute):
        batches = [photos[start : start + 32] for start in range(0, len(photos), 32)]
        return len(photos) / measure.seconds(
            lambda: [np.asarray(compute(batch)) for batch in batches]
        )

    for compute in ways.values():
        rate(compute)
    return measure.in_turn(
        {name: partial(rate, compute) for name, compute in ways.items()}, chosen.repeats
    )


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=3)
    parser.add_argument(
        "--name", default="stage1", help="name of the files written (default: stage1)"
    )
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats = 1
    data = measure.load(chosen)
    report = measure.Report(chosen.name, "Stage 1: a head on a frozen backbone", chosen, data)
    report.table(
        "The frozen backbone alone",
        "photos/s",
        passes(chosen, data),
        "TensorFlow, 32 photos at a time",
        "higher",
    )
    for epochs, wanted in [(1, None)] if chosen.quick else [(3, 2.5), (10, 8)]:
        values, accuracy = times(chosen, epochs)
        rows = report.table(
            f"{epochs} epochs: seconds from photos to a trained head", "seconds", values, "tutorial"
        )
        if wanted:
            reached = rows["ours, first time"]["times"]["median"]
            report.target(
                f"stage 1, {epochs} epochs, first time: times faster than the tutorial",
                reached,
                wanted,
            )
        report.remark(f"After {epochs} epochs the test accuracy is {accuracy['our_recipe.py']:.1%} with ours (trained on "
                      f"{len(data.train)} photos) and {accuracy['tutorial.py']:.1%} with the tutorial's (on "
                      f"{len(data.train) + len(data.validation)}); {len(data.test)} test photos.")  # fmt: skip
    report.write()


if __name__ == "__main__":
    main()
