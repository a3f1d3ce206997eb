"""The input pipeline: how fast photos come, how long the model waits for them, and what prefetching and mixed precision give.

All in one process, in turn. "Raw decoding" is Pillow on all cores, its pixels thrown away at once. Waiting is measured
on a real training: the time in which the model has nothing to compute because its next batch is not there. Only training
photos are read, and no accuracy is measured.
"""

import io
import time
from concurrent.futures import ThreadPoolExecutor

import measure
import numpy as np


def raw_decode(split, size=None):
    "Photos a second by Pillow alone on all cores: whole, or at the reduced scale that JPEG offers for `size`"
    from PIL import Image

    def decode(i):
        image = Image.open(io.BytesIO(split.read(i)))
        if size:
            image.draft(None, (size, size))
        image.load()

    start = time.perf_counter()
    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, range(len(split)), chunksize=16))
    return len(split) / (time.perf_counter() - start)


def once(batches, photos):
    "Photos a second of one pass"
    start, seen = time.perf_counter(), 0
    for images, _ in batches:
        seen += len(images)
        if seen >= photos:
            break
    return seen / (time.perf_counter() - start)


def first_epoch(split, size, batch_size):
    "Photos a second of our first epoch: everything is decoded, then every batch is handed over"
    from foodvision.pipeline import decode_split, training_batches

    start = time.perf_counter()
    decoded = decode_split(split, size, progress=False)
    once(
        training_batches(decoded, batch_size, 42, size, augmentation=None), len(split) - batch_size
    )
    return len(split) / (time.perf_counter() - start)


def processor_times(split, size):
    "Microseconds of processor time that each part of decoding takes for a photo, on one core"
    from PIL import Image

    from foodvision.preprocessing import decode_image

    encoded = [split.read(i) for i in range(min(len(split), 200))]

    def decode(photo, reduced):
        image = Image.open(io.BytesIO(photo))
        if reduced:
            image.draft(None, (size, size))
        image.load()

    parts = {
        "reading the file": lambda i: split.read(i), "decoding it whole": lambda i: decode(encoded[i], False),
        "decoding it at a reduced scale": lambda i: decode(encoded[i], True),
        "the same, and scaling it to the model's pixels": lambda i: decode_image(encoded[i], size, "photo"),
    }  # fmt: skip

    def spent(part):
        start = time.thread_time()
        for i in range(len(encoded)):
            part(i)
        return (time.thread_time() - start) / len(encoded) * 1e6

    return {name: lambda part=part: spent(part) for name, part in parts.items()}


def compiled(chosen, class_count, policy="float32", all_layers=True):
    "A model that is ready to train"
    import keras

    from foodvision.model import build_model, unfreeze
    from foodvision.precision import scaled_optimizer

    model = build_model(
        chosen.backbone, class_count, chosen.image_size, chosen.weights, policy=policy
    )
    if all_layers:
        unfreeze(model)
    model.compile(scaled_optimizer(keras.optimizers.Adam(1e-4), policy), "sparse_categorical_crossentropy",
                  auto_scale_loss=False, jit_compile=False)  # fmt: skip
    return model


def training_rate(model, batches, steps):
    "Photos a second of an epoch, and the share of its time in which the model waited for a batch"
    waited, photos, start = 0.0, 0, time.perf_counter()
    iterator = iter(batches)
    for _ in range(steps):
        asked = time.perf_counter()
        images, labels = next(iterator)
        waited += time.perf_counter() - asked
        model.train_on_batch(images, labels)
        photos += len(images)
    passed = time.perf_counter() - start
    return photos / passed, waited / passed


def measure_rates(report, chosen, data, batch_size):
    "How fast photos come: decoding, first epoch, later epochs"
    from tutorial import tutorial_batches

    from foodvision.pipeline import decode_split, throughput, training_batches

    size, split, wait = chosen.image_size, data.train, 0.1 if chosen.quick else 1.0
    many = split.take(
        np.tile(np.arange(len(split)), 1 if chosen.quick else max(1, 2000 // len(split)))
    )
    plain, larger = (
        decode_split(split, side, progress=False) for side in (size, round(size * 9 / 8))
    )
    values = measure.in_turn({
        "tutorial's chain": lambda: once(tutorial_batches([split], size), len(split)),
        "raw decoding, whole": lambda: raw_decode(many),
        "raw decoding, reduced scale": lambda: raw_decode(many, size),
        "ours, first epoch": lambda: first_epoch(many, size, batch_size),
        "ours, later epochs": lambda: throughput(training_batches(plain, batch_size, 42, size, augmentation=None), wait),
        "ours, later epochs, augmented": lambda: throughput(training_batches(larger, batch_size, 42, size), wait),
    }, chosen.repeats)  # fmt: skip
    rows = report.table(
        "How fast photos come, without a model", "photos/s", values, "tutorial's chain", "higher"
    )
    for name in ("raw decoding, whole", "raw decoding, reduced scale"):
        shares = sorted(ours / raw for ours, raw in zip(values["ours, first epoch"], values[name]))
        report.target(f"first epoch, as a share of {name}", shares[len(shares) // 2], 0.8)
    report.target(
        "later epochs: times the tutorial's chain",
        rows["ours, later epochs"]["times"]["median"],
        15,
    )
    parts = measure.in_turn(processor_times(split, size), chosen.repeats)
    spent = report.table(
        "A photo's way into the first epoch",
        "µs of one core",
        parts,
        "decoding it at a reduced scale",
    )
    read, _, reduced, scaled = (row["median"] for row in spent.values())
    report.remark(f"Decoding at a reduced scale is {(read + reduced) / (read + scaled):.0%} of reading and decoding to the model's "
                  f"pixels, so no first epoch can come closer to it; reading the file is {read / (read + scaled):.0%}.")  # fmt: skip
    return larger, rows


def chains(chosen, data, larger, batch_size):
    "What can feed a training, by name; each begins an epoch anew when it is asked"
    import tensorflow as tf
    from tutorial import tutorial_batches

    from foodvision.pipeline import training_batches

    ours = training_batches(larger, batch_size, 42, chosen.image_size)
    tutorial = lambda **without: tutorial_batches([data.train], chosen.image_size, **without)
    return {
        "tutorial's chain": tutorial(),
        "one batch, again and again": tf.data.Dataset.from_tensors(next(iter(ours))).repeat(),
        "ours, augmented": ours,
        "tutorial's, without prefetching": tutorial(prefetch=False),
        "tutorial's, nothing in parallel": tutorial(parallel=False, prefetch=False),
    }


def measure_waiting(report, chosen, data, larger, batch_size, rows):
    "How long the model waits in a real training: the head alone, as in the tutorial's stage 1, and all layers"
    fed = chains(chosen, data, larger, batch_size)
    some = dict(list(fed.items())[:3])
    for title, all_layers, batches in (
        ("the head on the frozen backbone", False, fed),
        ("all layers", True, some),
    ):
        if chosen.quick and all_layers:
            continue
        model = compiled(chosen, len(data.class_names), all_layers=all_layers)
        rates, waits = train_in_turn(
            model, batches, 1 if chosen.quick else len(data.train) // batch_size, chosen.repeats
        )
        trained = report.table(
            f"An epoch of training {title}, by what feeds it",
            "photos/s",
            rates,
            "tutorial's chain",
            "higher",
        )
        waited = report.table(
            f"Share of that epoch in which the model waits ({title})",
            "% of the time",
            waits,
            "tutorial's chain",
        )
        faster = (
            rows["ours, later epochs, augmented"]["median"]
            / trained["one batch, again and again"]["median"]
        )
        ours, theirs = (waited[name]["median"] for name in ("ours, augmented", "tutorial's chain"))
        report.remark(f"Training {title}: our pipeline, augmentation included, is {measure.number(faster)} times faster than the "
                      f"model. The model waits {measure.number(ours)} % of the time for ours, {measure.number(theirs)} % for the "
                      "tutorial's.")  # fmt: skip


def train_in_turn(model, fed, steps, repeats):
    "Photos a second and percent of waiting by what feeds the model, round by round"
    for batches in fed.values():
        model.train_on_batch(
            *next(iter(batches))
        )  # compiles; the tutorial's chain delivers float32, ours uint8
    epochs = {
        name: lambda batches=batches: training_rate(model, batches, steps)
        for name, batches in fed.items()
    }
    measured = measure.in_turn(epochs, repeats)
    rates = {name: [rate for rate, _ in pairs] for name, pairs in measured.items()}
    return rates, {
        name: [max(100 * share, 0.01) for _, share in pairs] for name, pairs in measured.items()
    }


def measure_precision(report, chosen, data, batch_size):
    "What mixed precision gives on this device, the input apart: one batch, again and again"
    size, steps = chosen.image_size, 1 if chosen.quick else 4
    images = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
    batch = images, np.arange(batch_size, dtype=np.int32) % len(data.class_names)
    for all_layers, title in ((False, "the head on the frozen backbone"), (True, "all layers")):
        if chosen.quick and all_layers:
            continue
        models = {policy: compiled(chosen, len(data.class_names), policy, all_layers)
                  for policy in (["float32", "mixed_bfloat16"] if chosen.quick else
                                 ["float32", "mixed_bfloat16", "mixed_float16"])}  # fmt: skip

        def rate(model):
            model.train_on_batch(*batch)
            start = time.perf_counter()
            for _ in range(steps):
                model.train_on_batch(*batch)
            return steps * batch_size / (time.perf_counter() - start)

        values = measure.in_turn(
            {name: lambda model=model: rate(model) for name, model in models.items()},
            chosen.repeats,
        )
        report.table(f"Mixed precision, training {title}", "photos/s", values, "float32", "higher")


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=3)
    parser.add_argument(
        "--name", default="pipeline", help="name of the files written (default: pipeline)"
    )
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats = 1
    data = measure.load(chosen)
    batch_size = min(32, len(data.train) // 2)
    report = measure.Report(chosen.name, "The input pipeline", chosen, data)
    larger, rows = measure_rates(report, chosen, data, batch_size)
    measure_waiting(report, chosen, data, larger, batch_size, rows)
    measure_precision(report, chosen, data, batch_size)
    report.write()


if __name__ == "__main__":
    main()
