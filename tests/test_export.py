"Every export format, made by the command, opened by its own runtime, and refused where it has to be"

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import run, succeed

from foodvision.drawing import draw_dish
from foodvision.look_alikes import read_groups
from foodvision.run import Config, Run
from foodvision.run_photos import is_own, load_as_trained

CLASSES = ["hamburger", "pizza", "sushi"]


@pytest.fixture(scope="module")
def trained(foodvision, tmp_path_factory):
    "A small run on a folder of drawn dishes, the last two of each class alike, evaluated"
    folder = tmp_path_factory.mktemp("export")
    for part, numbers in (("train", range(60)), ("test", range(100, 120))):
        for name in CLASSES:
            (folder / "my photos" / part / name).mkdir(parents=True)
            for number in numbers:
                dish = draw_dish(name, min(number, 58) if part == "train" else number, (120, 90))
                dish.save(folder / "my photos" / part / name / f"{number}.jpg")
    done = foodvision("train", "--data", folder / "my photos", "--run", folder / "dishes", "--backbone", "EfficientNetLite0",
                      "--image-size", 96, "--feature-epochs", 10, "--no-tune-head", "--fine-tune-epochs", 0)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "dishes"


@pytest.fixture(scope="module")
def exported(foodvision, trained):
    "What the command printed for each format"
    ways = {"int8": ("litert", "--quantize", "int8"), "float16": ("litert", "--quantize", "float16"),
            "onnx": ("onnx",), "savedmodel": ("savedmodel",)}  # fmt: skip
    with ThreadPoolExecutor(2) as workers:
        running = {
            name: workers.submit(foodvision, "export", trained, "--format", *way)
            for name, way in ways.items()
        }
    return {name: done.result() for name, done in running.items()}


@pytest.fixture
def copy(trained, tmp_path):
    "A copy of the run that a test may change"
    shutil.copytree(trained, tmp_path / "dishes", ignore=shutil.ignore_patterns("exports"))
    return tmp_path / "dishes"


def change(folder, **facts):
    "Replace facts in a run's configuration; None removes one"
    info = {**json.loads((folder / "config.json").read_text()), **facts}
    (folder / "config.json").write_text(
        json.dumps({name: value for name, value in info.items() if value is not None})
    )


def test_the_command_says_what_it_measured(exported, trained):
    for name, done in exported.items():
        assert done.returncode == 0, done.stderr
        said = done.stdout
        assert re.search(r"Same answer as Keras on \d+\.\d% of 60 test photos", said), said
        assert all(
            word in said for word in ("Accuracy on them: ", "Size: ", " MB", "One photo: ", " ms")
        ), said
        assert f"Model card: {trained / 'README.md'}" in said
        faults = [
            line
            for line in done.stderr.splitlines()
            if re.search("Traceback|WARN|INFO|cuda|deprecat", line)
        ]
        assert not faults, f"{name}: {faults[:3]}"
        record = json.loads(
            (trained / "exports" / f"{'litert-' * (name[-1] in '68')}{name}.json").read_text()
        )
        assert record["photos"] == 60 and record["agreement"] >= record["limits"]["agreement"]
        assert record["photos_lost"] <= 1 and set(record["milliseconds"]) == {"keras", "exported"}
    sizes = {
        path.suffix: path.stat().st_size for path in (trained / "exports").glob("litert-*.tflite")
    }
    names = {path.name for path in (trained / "exports").iterdir()}
    assert sizes and not [name for name in names if name.startswith(".")]
    assert {"litert-int8.tflite", "litert-float16.tflite", "onnx.onnx", "savedmodel"} <= names


def test_int8_is_a_quarter_and_float16_a_half(exported, trained):
    size = {
        name: (trained / "exports" / file).stat().st_size
        for name, file in (
            ("int8", "litert-int8.tflite"),
            ("float16", "litert-float16.tflite"),
            ("float32", "onnx.onnx"),
        )
    }
    assert size["int8"] < 0.35 * size["float32"] and size["float16"] < 0.55 * size["float32"]


STRANGER = """
import json, sys, zipfile
import numpy as np
folder, pixels = sys.argv[1], np.load(sys.argv[2])
from ai_edge_litert.interpreter import Interpreter
reader = Interpreter(folder + "/litert-float16.tflite")
runner = reader.get_signature_runner("serving_default")
litert = runner(photos=pixels)["probabilities"]
labels = zipfile.ZipFile(folder + "/litert-float16.tflite").read("labels.txt").decode().split()
import onnxruntime
session = onnxruntime.InferenceSession(folder + "/onnx.onnx", providers=["CPUExecutionProvider"])
onnx = session.run(["probabilities"], {"photos": pixels})[0]
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
import tensorflow as tf
serve = tf.saved_model.load(folder + "/savedmodel").signatures["serving_default"]
saved = serve(photos=tf.constant(pixels))["probabilities"].numpy()
json.dump({"labels": labels, "onnx_labels": session.get_modelmeta().custom_metadata_map["labels"].split(),
           "litert": litert.tolist(), "onnx": onnx.tolist(), "savedmodel": saved.tolist()}, open(sys.argv[3], "w"))
"""


def test_a_stranger_without_foodvision_gets_the_same_answers(
    exported, foodvision, trained, tmp_path
):
    from foodvision.preprocessing import decode_image

    photos = [trained.parent / "my photos" / "test" / name / "100.jpg" for name in CLASSES]
    np.save(tmp_path / "pixels.npy", np.stack([decode_image(path, 96) for path in photos]))
    succeed(
        "python",
        "-c",
        STRANGER,
        trained / "exports",
        tmp_path / "pixels.npy",
        tmp_path / "said.json",
        cwd=tmp_path,
    )
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["labels"] == said["onnx_labels"] == CLASSES
    answers = foodvision("predict", trained, *photos, "--json").stdout.splitlines()
    keras = [
        {row["class"]: row["probability"] for row in json.loads(line)["ranked"]} for line in answers
    ]
    for name, tolerance in (("litert", 0.02), ("onnx", 1e-4), ("savedmodel", 1e-4)):
        for chances, expected in zip(said[name], keras):
            assert chances == pytest.approx(
                [expected[label] for label in CLASSES], abs=tolerance
            ), name


def test_a_file_that_differs_is_removed(foodvision, trained, tmp_path):
    done = foodvision(
        "export",
        trained,
        "--format",
        "savedmodel",
        "--difference",
        1e-12,
        "--out",
        tmp_path / "out",
    )
    assert done.returncode == 1
    assert re.search(
        r"foodvision: savedmodel does not agree with Keras on 60 photos: a probability off by",
        done.stderr,
    )
    assert "It was removed." in done.stderr and "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_calls_that_cannot_work(foodvision, copy, trained, exported, tmp_path):
    exports = trained / "exports"
    for words, code, said in [
        (
            ["--format", "coreml"],
            2,
            "format must be one of litert, onnx, savedmodel, hub, compact, web, and is 'coreml'",
        ),
        (["--format", "onnx", "--quantize", "int8"], 2, "quantize is for the format litert"),
        (["--agreement", 2], 2, "agreement must be from 0 to 1, and is 2.0"),
        (["--photos", 0], 2, "photos must be 1 or more, and is 0"),
        (["--format", "onnx", "--out", exports], 2, f"{exports / 'onnx.onnx'} exists already"),
    ]:
        done = foodvision("export", trained, *words)
        assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (code, True, 1), (
            done.stderr
        )
    change(copy, calibrated=None)
    done = foodvision("export", copy)
    assert done.returncode == 1
    assert (
        f"has no calibration for its present model. Fit it with: foodvision evaluate {copy}"
        in done.stderr
    )
    (copy / "model.keras").unlink()
    done = foodvision("export", copy)
    assert (
        done.returncode == 1 and f"Resume it with: foodvision train --resume {copy}" in done.stderr
    )


def test_a_missing_extra_names_the_command(trained, offline):
    code = ("import sys; sys.modules.update(tf2onnx=None); from foodvision.cli import main; "
            "sys.exit(main(['export', sys.argv[1], '--format', 'onnx']))")  # fmt: skip
    done = run("python", "-c", code, trained, **offline)
    assert done.returncode == 1
    assert (
        "needs tf2onnx, not installed here. Get it with: pip install 'foodvision[export]'"
        in done.stderr
    )


def test_a_folder_to_share(foodvision, trained, tmp_path):
    done = foodvision("export", trained, "--format", "hub", "--out", tmp_path / "share")
    assert done.returncode == 0, done.stderr
    files = {
        str(path.relative_to(tmp_path / "share"))
        for path in (tmp_path / "share").rglob("*")
        if path.is_file()
    }
    assert {
        "README.md",
        "model.keras",
        "config.json",
        "labels.txt",
        "foodvision.json",
        "report/metrics.json",
    } <= files
    for name in files - {"model.keras", "class_features.npz"}:
        text = (tmp_path / "share" / name).read_text()
        assert not re.search(re.escape(str(trained.parent)) + "|/tmp/|/home/|/root", text), name
    shared, own = Run.open(tmp_path / "share"), trained.parent / "my photos"
    assert read_groups(shared) and is_own(shared, load_as_trained(shared, own))
    photo = trained.parent / "my photos" / "test" / "pizza" / "100.jpg"
    answers = [
        json.loads(foodvision("predict", place, photo, "--json").stdout)
        for place in (trained, tmp_path / "share")
    ]
    assert answers[0]["ranked"] == answers[1]["ranked"]
    again = foodvision("export", trained, "--format", "hub", "--out", tmp_path / "share")
    assert again.returncode == 2 and "exists already" in again.stderr


def test_the_card_of_a_run_without_a_report_says_so(copy):
    import yaml

    from foodvision.hub import model_card

    measured = model_card(copy)
    shutil.rmtree(copy / "report")
    bare = model_card(copy)
    front = [yaml.safe_load(card.split("---\n")[1]) for card in (measured, bare)]
    assert (
        front[0]["model-index"][0]["results"][0]["dataset"]["split"] == "test"
        and "model-index" not in front[1]
    )
    assert (
        "has not been measured on test photos" in bare and "has not been measured" not in measured
    )
    assert "120×90 photos, scaled to 96" in measured
    assert (
        front[1]["license"] == "apache-2.0" and front[1]["pipeline_tag"] == "image-classification"
    )


def test_overwriting_a_run_takes_its_exports(exported, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "dishes")
    (folder / "exports" / "notes.txt").write_text("mine")
    Run.create(folder, Config(), overwrite=True)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert left == ["config.json", "exports", "exports/notes.txt"]


def test_a_run_of_mixed_precision_is_exported_in_float32(trained, tmp_path):
    import keras

    from foodvision.calibration import calibrate
    from foodvision.export import export_run
    from foodvision.model import build_model, save_model

    layers = [
        keras.Input((None, None, 3)),
        keras.layers.Conv2D(16, 5, 4, activation="relu"),
        keras.layers.Conv2D(16, 3),
    ]
    keras.utils.set_random_seed(0)
    keras.Sequential(layers).save(tmp_path / "tiny.keras")
    config = Config(
        data=str(trained.parent / "my photos"), backbone=str(tmp_path / "tiny.keras"), image_size=64
    )
    made = Run.create(tmp_path / "half", config, class_names=CLASSES, complete=True)
    save_model(build_model(config.backbone, 3, 64, policy="mixed_bfloat16"), made.model_path)
    calibrate(made)
    record = export_run(made, "litert", limits={"agreement": 0.9})
    assert (
        record["max_difference"] <= 0.1
        and record["limits"]["difference"] == 0.1
        and record["bytes"] < 100_000
    )


def test_a_compact_folder_is_measured_on_the_photos_of_the_run(foodvision, trained, tmp_path):
    done = foodvision("export", trained, "--format", "compact", "--out", tmp_path / "compact")
    assert done.returncode == 0 and re.search(r"top-1: \d+\.\d% on 60 test photos", done.stdout), (
        done.stderr
    )
    photo = trained.parent / "my photos" / "test" / "pizza" / "100.jpg"
    assert json.loads(foodvision("predict", tmp_path / "compact", photo, "--json").stdout)["ranked"]


def test_the_card_claims_the_whole_of_a_data_set_for_nothing_less(trained, copy):
    import yaml

    from foodvision.hub import model_card

    place = copy / "report" / "metrics.json"
    facts = json.loads(place.read_text())
    for official in (False, True):
        facts["data"] |= {"name": "food101", "official_food101": official}
        place.write_text(json.dumps(facts))
        [result] = yaml.safe_load(model_card(copy).split("---\n")[1])["model-index"][0]["results"]
        assert (result["dataset"]["type"] == "ethz/food101") == official
