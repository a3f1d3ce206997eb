"""Start-up and overheads: how soon the commands answer, and what Keras adds to each step of a training.

Commands are measured as whole processes. The step is that of stage 1's head, so small that what surrounds it shows. No photo
is read for it and no accuracy measured.
"""

import sys
import time
from pathlib import Path

import measure


def measure_processes(report, chosen):
    "Whole processes, from their start to their end"
    command = [
        sys.executable,
        "-c",
        "import sys; from foodvision.cli import main; sys.exit(main())",
    ]
    beside = {"PYTHONPATH": str(Path(measure.HERE).parent)}
    commands = {
        "import tensorflow": [sys.executable, "-c", "import tensorflow"],
        "python alone": [sys.executable, "-c", "pass"],
        "import foodvision": [sys.executable, "-c", "import foodvision"],
        "foodvision --help": [*command, "--help"],
        "foodvision info": [*command, "info"],
    }
    for words in commands.values():
        measure.process(
            words, **beside
        )  # the first start of each reads files that later ones find in memory
    timed = {
        name: lambda words=words: measure.process(words, **beside)["seconds"]
        for name, words in commands.items()
    }
    rows = report.table(
        "From a command to its end",
        "seconds",
        measure.in_turn(timed, chosen.repeats),
        "import tensorflow",
    )
    for name in ("foodvision --help", "foodvision info"):
        report.target(f"{name}: seconds", rows[name]["median"], at_most=1)


def head_model(steps_per_execution=1, classes=101):
    "The head of stage 1, compiled"
    import keras

    features = keras.Input((1280,))
    model = keras.Model(features, keras.layers.Dense(classes, activation="softmax")(features))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False,
                  steps_per_execution=steps_per_execution)  # fmt: skip
    return model


def bare_step(model):
    "A compiled step without Keras' loop: gradient, update, and the metrics that `fit` keeps"
    import tensorflow as tf

    metrics = [tf.keras.metrics.Mean(), tf.keras.metrics.SparseCategoricalAccuracy()]
    model.optimizer.build(model.trainable_variables)

    @tf.function
    def step(features, labels):
        with tf.GradientTape() as tape:
            answers = model(features, training=True)
            loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, answers))
        model.optimizer.apply(
            tape.gradient(loss, model.trainable_variables), model.trainable_variables
        )
        metrics[0].update_state(loss)
        metrics[1].update_state(labels, answers)

    return step


def measure_steps(report, chosen):
    "Milliseconds a step around the same small computation"
    import numpy as np
    import tensorflow as tf

    steps = 20 if chosen.quick else 640
    random = np.random.default_rng(0)
    features, labels = (
        random.normal(size=(32 * 64, 1280)).astype("float32"),
        random.integers(0, 101, 32 * 64).astype("int32"),
    )
    batches = (
        tf.data.Dataset.from_tensor_slices((features, labels))
        .batch(32, drop_remainder=True)
        .cache()
        .repeat()
    )
    batches = batches.prefetch(tf.data.AUTOTUNE)
    model, step = head_model(), None
    step = bare_step(model)

    def bare():
        iterator = iter(batches)
        step(*next(iterator))
        start = time.perf_counter()
        for _ in range(steps):
            step(*next(iterator))
        return 1000 * (time.perf_counter() - start) / steps

    def fit(model):
        run = lambda: model.fit(batches, epochs=1, steps_per_epoch=steps, verbose=0, shuffle=False)
        if not model.optimizer.built:
            run()
        return 1000 * measure.seconds(run) / steps

    fits = (
        {1: head_model(1), 8: head_model(8)}
        if chosen.quick
        else {count: head_model(count) for count in (1, 8, 32)}
    )
    named = {
        f"fit, steps_per_execution={count}": lambda model=model: fit(model)
        for count, model in fits.items()
    }
    values = measure.in_turn({"bare compiled step": bare, **named}, chosen.repeats)
    rows = report.table(
        "A step of stage 1's head, 32 photos' features",
        "milliseconds",
        values,
        "fit, steps_per_execution=1",
    )
    extra = rows["fit, steps_per_execution=1"]["median"] - rows["bare compiled step"]["median"]
    report.remark(
        f"Keras' `fit` adds {measure.number(extra)} ms to a step (the start of `fit` shared out among {steps} steps)."
    )


def main():
    chosen = measure.options(__doc__.splitlines()[0], repeats=7).parse_args()
    if chosen.quick:
        chosen.repeats = 1
    del (
        chosen.data,
        chosen.backbone,
        chosen.weights,
        chosen.image_size,
    )  # nothing here depends on them
    report = measure.Report("startup", "Start-up and overheads", chosen)
    measure_processes(report, chosen)
    measure_steps(report, chosen)
    report.write()


if __name__ == "__main__":
    main()
