"""Start-up and overheads: how soon the commands answer, how soon a training begins, and what Keras adds to each of its steps.

Commands are measured as whole processes. A training, of the drawn sample if no other data is given, runs to the end of its first step, once with nothing
cached and once with what the first has left. The step is that of stage 1's head, so small that what surrounds it shows. No
accuracy is measured.
"""

import json
import os
import sys
import tempfile
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


PARTS = (  # What a training does before its first step: module, function, and what the table calls it
    ("preparation", "load_photos", "finding the photos (drawing them, if they are not)"),
    ("preparation", "build_model", "building the model, with its weights"),
    ("preparation", "decode_to_learn", "decoding"),
    ("training", "group_look_alikes", "features of the backbone, and groups of photos that look alike"),
    ("training", "_as_features", "handing out the features"),
    ("training", "_tune", "tuning the head"),
)  # fmt: skip


def first_step(chosen):
    "Train until the first step is done and write what each part took; ends the process"
    import importlib

    start = time.perf_counter()
    modules = {name: importlib.import_module(f"foodvision.{name}") for name, _, _ in PARTS}
    spent = {"imports": time.perf_counter() - start}

    def watch(module, name, part):
        original = getattr(module, name)

        def timed(*arguments, **options):
            begun = time.perf_counter()
            result = original(*arguments, **options)
            spent[part] = spent.get(part, 0) + time.perf_counter() - begun
            return result

        setattr(module, name, timed)

    for module, name, part in PARTS:
        watch(modules[module], name, part)
    import keras

    from foodvision.recipes import make_config

    class First(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            everything = time.perf_counter() - start
            spent["the rest: compiling and the step itself"] = everything - sum(spent.values())
            Path(chosen.json).write_text(json.dumps({**spent, "all": everything}))
            os._exit(0)

    names = "data", "backbone", "weights", "image_size"
    settings = {name: getattr(chosen, name) for name in names}
    config = make_config({**settings, "recipe": "quick"})
    with tempfile.TemporaryDirectory() as folder:
        modules["training"].train(config, Path(folder) / "run", callbacks=[First()])


def measure_first_step(report, chosen):
    "From the call of a training to the end of its first step, part by part"
    words = ["--first-step", "--data", chosen.data]
    words += ["--backbone", chosen.backbone, "--weights", chosen.weights]
    command = measure.python_files("startup.py", *words, "--image-size", chosen.image_size)
    seconds = {}
    for _ in range(chosen.repeats):
        with tempfile.TemporaryDirectory() as folder:
            places = {"XDG_CACHE_HOME": folder, "TMPDIR": folder}
            cold, warm = (measure.process(command, **places) for _ in range(2))
        for part, value in cold["result"].items():
            seconds.setdefault(part, []).append(value)
        seconds.setdefault("all, with everything cached", []).append(warm["result"]["all"])
    title = "From the call of a training to the end of its first step"
    rows = report.table(title, "seconds", seconds, "all")
    for name, what in (("all", "nothing"), ("all, with everything cached", "everything")):
        report.target(f"first step, {what} cached: seconds", rows[name]["median"], at_most=12)


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
    parser = measure.options(__doc__.splitlines()[0], repeats=7)
    parser.add_argument("--first-step", action="store_true", help="for this script itself")
    parser.add_argument("--json", default="", help="for this script itself")
    chosen = parser.parse_args()
    if chosen.first_step:
        return first_step(chosen)
    if chosen.quick:
        chosen.repeats = 1
    del chosen.first_step
    report = measure.Report("startup", "Start-up and overheads", chosen)
    measure_processes(report, chosen)
    measure_first_step(report, chosen)
    measure_steps(report, chosen)
    report.write()


if __name__ == "__main__":
    main()
