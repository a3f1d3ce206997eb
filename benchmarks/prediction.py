"""Answers: one photo by LiteRT, ONNX Runtime and Keras, and a folder of photos beside the model's bare forward pass.

`python benchmarks/prediction.py RUN` takes an evaluated run. The files are exported anew, so that what is timed has passed
the comparison with Keras. One photo: decoded already, warm, the runtimes in turn, many calls a round. A folder: files on
the disk in, ranked answers out, beside the compiled model on pixels that lie in memory. Many photos: the test photos, decoded
already, as `foodvision evaluate` asks the model about them, beside TensorFlow. Accuracy is that of the exported files
beside Keras on test photos, as `foodvision export` compares them; no default is decided by it.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import measure


def options():
    "A run, and what every benchmark has"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="an evaluated run")
    parser.add_argument(
        "--data",
        default="",
        help="photos: a folder, `sample` or `food101` (default: those of the run)",
    )
    parser.add_argument("--repeats", type=int, default=7, help="rounds (default: 7)")
    parser.add_argument(
        "--photos", type=int, default=400, help="most photos in the folder (default: 400)"
    )
    parser.add_argument(
        "--out", default="runs/benchmarks", help="folder to write to (default: runs/benchmarks)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="as little as shows that it works; its figures mean nothing",
    )
    return parser.parse_args()


def exported_models(report, chosen, run, data, folder):
    "The run in each runtime, by the name that the table shows; they are compared with Keras on the way"
    from foodvision.export import export_run
    from foodvision.exported import ExportedModel

    ways = {
        "LiteRT int8": ("litert", "int8"),
        "LiteRT float32": ("litert", ""),
        "ONNX Runtime": ("onnx", ""),
    }
    compared = 32 if chosen.quick else 15_000
    records = {
        name: export_run(run, *way, out=folder, data=data, photos=compared)
        for name, way in ways.items()
    }
    right = {"Keras": records["LiteRT int8"]["accuracy"]["keras"]}
    right |= {name: record["accuracy"]["exported"] for name, record in records.items()}
    photos = records["LiteRT int8"]["photos"]
    report.remark(f"Top-1 on {photos:,} test photos: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in right.items())
                  + ". Size: " + ", ".join(f"{name} {one['bytes'] / 1e6:.1f} MB" for name, one in records.items()) + ".")  # fmt: skip
    lost = 100 * (right["Keras"] - right["LiteRT int8"])
    report.target(
        f"points of top-1 that LiteRT int8 loses to float32 on {photos:,} photos", lost, at_most=1
    )
    return {name: ExportedModel(record["path"]) for name, record in records.items()}


def one_photo(function, photo, calls):
    "Median milliseconds of a call with one photo"
    return lambda: 1000 * statistics.median(measure.seconds(function, photo) for _ in range(calls))


def measure_one_photo(report, chosen, exported, model, photo):
    "Single photos, warm"
    import numpy as np

    from foodvision.predictor import forward_function

    compiled = forward_function(model)
    functions = {
        "Keras, model(photo)": lambda pixels: np.asarray(model(pixels, training=False)),
        "Keras, compiled (what predict uses)": lambda pixels: compiled(pixels)[0].numpy(),
        **{name: file.probabilities for name, file in exported.items()},
    }
    for function in functions.values():
        for _ in range(3):
            function(photo)
    calls = 2 if chosen.quick else 20
    turns = {name: one_photo(function, photo, calls) for name, function in functions.items()}
    values = measure.in_turn(turns, chosen.repeats)
    report.table("One photo, decoded already", "ms", values, "Keras, compiled (what predict uses)")
    ratio = lambda other: statistics.median(
        a / b for a, b in zip(values["LiteRT int8"], values[other])
    )
    report.target(
        "LiteRT int8 as a share of the compiled Keras call",
        ratio("Keras, compiled (what predict uses)"),
        at_most=0.5,
    )
    report.target(
        "LiteRT int8 as a share of model(photo)", ratio("Keras, model(photo)"), at_most=0.5
    )
    report.remark(
        f"LiteRT int8 takes {measure.number(ratio('ONNX Runtime'))} of ONNX Runtime's time."
    )


def measure_folder(report, chosen, classifier, paths):
    "A folder of photos: answers a second, beside the bare forward pass and beside decoding alone"
    import numpy as np

    from foodvision.predictor import forward_function
    from foodvision.preprocessing import decode_image

    pixels = np.stack([decode_image(path, classifier.image_size) for path in paths])
    forward, batches = (
        forward_function(classifier.predictor.model),
        [pixels[i : i + 32] for i in range(0, len(pixels), 32)],
    )

    def bare():
        for batch in batches:
            forward(batch)[0].numpy()

    functions = {
        "bare forward pass, batches of 32": bare,
        "predict over the folder": lambda: classifier.predict(paths),
    }
    for function in functions.values():
        function()
    values = measure.in_turn({name: lambda function=function: wall_and_cores(function) for name, function in functions.items()},
                             chosen.repeats)  # fmt: skip
    rates = {name: [len(paths) / wall for wall, _ in pairs] for name, pairs in values.items()}
    rows = report.table(
        f"A folder of {len(paths)} photos",
        "photos/s",
        rates,
        "bare forward pass, batches of 32",
        "higher",
    )
    work = {
        name: [1000 * cores / len(paths) for _, cores in pairs] for name, pairs in values.items()
    }
    report.table(
        "The same in processor time",
        "ms of one core a photo",
        work,
        "bare forward pass, batches of 32",
    )
    share = rows["predict over the folder"]["times"]["median"]
    report.target("predict over a folder, as a share of the bare forward pass", share, at_least=0.9)


def measure_many(report, chosen, predictor, split):
    "All test photos at once: `predict_batches`, its conversion to LiteRT counted, beside TensorFlow, and what differs"
    import numpy as np
    from scipy.special import softmax

    from foodvision.pipeline import decode_split
    from foodvision.predictor import KerasPredictor, predict_batches

    model, size = predictor.model, predictor.image_size
    pixels = decode_split(split, size, progress=False, fit=predictor.fit).images
    answers, tensorflow = {}, KerasPredictor(model)
    tensorflow.for_many = lambda photos: tensorflow
    tensorflow(pixels[:32])  # traces it

    def ask(name, make):
        answers[name] = predict_batches(make(), pixels)[0]

    ways = {"TensorFlow": lambda: tensorflow, "as evaluate does it": lambda: KerasPredictor(model)}
    turns = {
        name: lambda name=name, make=make: measure.seconds(ask, name, make)
        for name, make in ways.items()
    }
    title = f"{len(pixels):,} test photos, decoded already"
    rows = report.table(title, "seconds", measure.in_turn(turns, chosen.repeats), "TensorFlow")
    one, other = (softmax(answers[name], axis=1) for name in ways)
    ratio = rows["as evaluate does it"]["times"]["median"]
    report.target(f"{len(pixels):,} photos, times faster than TensorFlow", ratio, at_least=2)
    report.target("greatest difference of a probability", float(abs(one - other).max()), at_most=1e-3)  # fmt: skip
    same = int(np.sum(one.argmax(1) == other.argmax(1)))
    report.remark(f"The same class first on {same:,} of {len(pixels):,} photos.")


def wall_and_cores(function):
    "Seconds that a call takes, and seconds that it keeps cores busy: what neighbours on a busy machine disturb less"
    cores = time.process_time()
    return measure.seconds(function), time.process_time() - cores


def main():
    chosen = options()
    if chosen.quick:
        chosen.repeats, chosen.photos = 1, 32
    from foodvision.food101 import load_data
    from foodvision.inference import Classifier
    from foodvision.run import Run

    run = Run.open(chosen.run)
    config, classifier = run.config, Classifier.load(run)
    data = load_data(chosen.data or config.data, config.validation_fraction, config.seed)
    chosen.backbone, chosen.image_size = Path(config.backbone).name, config.image_size
    chosen.run = run.path.name
    report = measure.Report("prediction", "Answers", chosen, data)
    paths = [
        path for split in (data.test, data.train) for path in map(split.path, range(len(split)))
    ][: chosen.photos]
    if None in paths:
        raise SystemExit(
            "These photos are records, not files. Give a folder of photos with --data."
        )
    with tempfile.TemporaryDirectory() as folder:
        exported = exported_models(report, chosen, run, data, folder)
        photo = classifier_pixels(classifier, paths[0])
        measure_one_photo(report, chosen, exported, classifier.predictor.model, photo)
    measure_folder(report, chosen, classifier, paths)
    measure_many(report, chosen, classifier.predictor, data.test)
    report.write()


def classifier_pixels(classifier, path):
    "One photo as a batch"
    from foodvision.preprocessing import decode_image

    return decode_image(path, classifier.image_size)[None]


if __name__ == "__main__":
    main()
