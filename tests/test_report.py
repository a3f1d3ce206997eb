"Evaluating a run again: after a resume, on other photos, into folders that are in use"

import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from foodvision.drawing import draw_dish
from foodvision.errors import UserError
from foodvision.food101 import load_data
from foodvision.run import Config, Run

CLASSES = ["hamburger", "pizza", "sushi"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    "A folder with drawn dishes in `photos`, and a headless model of two convolutions"
    import keras

    folder = tmp_path_factory.mktemp("evaluation")
    for part, numbers in (("train", range(30)), ("test", range(100, 110))):
        for name in CLASSES:
            (folder / "photos" / part / name).mkdir(parents=True)
            for number in numbers:
                draw_dish(name, number, (64, 48)).save(
                    folder / "photos" / part / name / f"{number}.jpg"
                )
    keras.utils.set_random_seed(0)
    layers = [keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 127.5, -1),
              keras.layers.Conv2D(16, 5, 4, activation="relu"), keras.layers.Conv2D(32, 5, 4, activation="relu")]  # fmt: skip
    keras.Sequential(layers).save(folder / "tiny.keras")
    return folder


@pytest.fixture(scope="module")
def stopped(home):
    "A run that was asked to stop after the first epoch of stage 2"
    from foodvision import callbacks, resume
    from foodvision.training import train

    config = Config(data=str(home / "photos"), backbone=str(home / "tiny.keras"), image_size=48, feature_epochs=1, batch_size=8,
                    tune_head=False, fine_tune_epochs=15, fine_tune_learning_rate=3e-3,
                    group_look_alikes=False)  # random features do not know what looks alike  # fmt: skip

    def on_epoch_end(self, epoch, logs=None, keep=callbacks.BestModel.on_epoch_end):
        keep(self, epoch, logs)
        if any(row["stage"] == "fine_tuning" for row in Run.open(home / "stopped").history):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.BestModel, "on_epoch_end", on_epoch_end)
        with pytest.raises(resume.Interrupted):
            train(config, home / "stopped")
    return home / "stopped"


@pytest.fixture
def copy(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def test_a_resumed_run_is_calibrated_anew(copy, capsys):
    from foodvision.calibration import load_calibration
    from foodvision.hub import model_card
    from foodvision.inference import Classifier
    from foodvision.report import evaluate
    from foodvision.training import train

    first = evaluate(copy)
    old = load_calibration(Run.open(copy))
    train(None, copy, resume=True)
    resumed = Run.open(copy)
    assert resumed.info["complete"] and load_calibration(resumed) is None
    assert not {"temperature", "threshold", "calibrated"} & set(resumed.info)
    assert "has not been measured" in model_card(resumed) and "not calibrated" in model_card(
        resumed
    )
    capsys.readouterr()
    bare = Classifier.load(resumed)
    assert (bare.temperature, bare.threshold) == (1.0, None)
    assert "no calibration for its present model" in capsys.readouterr().err
    second = evaluate(copy)
    new = load_calibration(Run.open(copy))
    assert second["coverage"] > 0.5 and second["model_checksum"] != first["model_checksum"]
    assert new.threshold != old.threshold and not np.array_equal(
        new.class_features, old.class_features
    )
    assert "has not been measured" not in model_card(Run.open(copy))


def test_a_stale_calibration_is_not_used_even_if_nobody_dropped_it(copy):
    "A model file that is another one, put there by whatever means"
    from foodvision.calibration import calibrate, load_calibration
    from foodvision.report import evaluate

    fitted = calibrate(copy)
    with open(copy / "model.keras", "ab") as file:
        file.write(b" ")
    assert load_calibration(Run.open(copy)) is None
    Run.open(copy).record(temperature=19.0)
    assert evaluate(copy)["temperature"] == pytest.approx(fitted["temperature"])


def test_other_photos_decide_nothing(copy, home, tmp_path, foodvision):
    "A first look at other photos, mislabelled ones, of some classes: all are measured, and none is fitted on"
    from foodvision.calibration import calibrate, load_calibration

    for is_class, shows in (("pizza", "sushi"), ("sushi", "pizza")):
        (tmp_path / "other" / is_class).mkdir(parents=True)
        for number in range(300, 312):
            draw_dish(shows, number, (64, 48)).save(tmp_path / "other" / is_class / f"{number}.jpg")
    done = foodvision("evaluate", copy, "--data", tmp_path / "other")
    assert done.returncode == 0, done.stderr
    assert "Note: Measured on 24 photos of 2 of the run's 3 classes: pizza, sushi." in done.stdout
    assert re.search(r"top-1: .*24 photos", done.stdout)
    assert json.loads((copy / "report-other" / "metrics.json").read_text())["photos"] == 24
    fitted = load_calibration(Run.open(copy))
    assert fitted.threshold["photos"] == Run.open(copy).info["data"]["counts"]["validation"]
    assert fitted.temperature == pytest.approx(calibrate(copy)["temperature"])
    only_test = shutil.copytree(home / "photos" / "test", tmp_path / "alone" / "test")
    shutil.rmtree(only_test / "hamburger")
    done = foodvision("evaluate", copy, "--data", tmp_path / "alone")
    assert (
        done.returncode == 0 and "Measured on 20 photos of 2 of the run's 3 classes" in done.stdout
    ), done.stderr


def test_its_own_photos_are_known_wherever_they_are(copy, home, tmp_path, foodvision):
    "Moved, they are split as they were; changed, nothing is calibrated on them"
    shutil.copytree(home / "photos", tmp_path / "moved")
    info = json.loads((copy / "config.json").read_text())
    info["config"]["group_look_alikes"] = True
    (copy / "config.json").write_text(json.dumps(info))
    moved = foodvision("evaluate", copy, "--data", tmp_path / "moved")
    assert (
        moved.returncode == 0
        and "30 photos" in moved.stdout
        and f"{copy}/report/report.html" in moved.stdout
        and "look like training photos is not known" in moved.stdout  # another user's cache
    ), moved.stderr
    info = json.loads((copy / "config.json").read_text())
    info["calibrated"], info["config"]["data"] = {}, str(tmp_path / "moved")
    (copy / "config.json").write_text(json.dumps(info))
    (tmp_path / "moved" / "train" / "pizza" / "0.jpg").unlink()
    done = foodvision("evaluate", copy)
    assert (
        done.returncode == 1
        and "holds other photos now" in done.stderr
        and done.stderr.count("\n") == 1
    )
    shutil.rmtree(tmp_path / "moved")
    done = foodvision("evaluate", copy, "--data", home / "photos" / "test")
    assert (
        done.returncode == 1
        and "takes the photos it was trained on" in done.stderr
        and done.stderr.count("\n") == 1
    )


def test_a_report_empties_no_folder(copy, tmp_path):
    from foodvision.errors import UserError
    from foodvision.report import evaluate

    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.tex").write_text("Once")
    for _ in range(2):
        evaluate(copy, folder=thesis)
        assert (thesis / "chapter.tex").read_text() == "Once" and (thesis / "report.html").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.md").write_text("my own report")
    with pytest.raises(UserError, match="holds a report.md that is not of a report"):
        evaluate(copy, folder=tmp_path / "mine")
    assert (tmp_path / "mine" / "report.md").read_text() == "my own report"


@pytest.mark.parametrize("format", ["hub", "compact", "web"])
def test_exports_carry_a_calibration_that_is_their_own(copy, tmp_path, foodvision, format):
    from foodvision.calibration import calibrate, load_calibration
    from foodvision.predictor import checksum

    out = tmp_path / "out"
    refused = foodvision("export", copy, "--format", format, "--out", out)
    assert (
        refused.returncode == 1
        and "no calibration for its present model. Fit it with: foodvision" in refused.stderr
    )
    assert refused.stderr.count("\n") == 1 and not out.exists()
    fitted = calibrate(copy)
    done = foodvision("export", copy, "--format", format, "--out", out)
    assert done.returncode == 0, done.stderr
    if format == "web":
        facts = json.loads((out / "facts.json").read_text())
        assert (facts["temperature"], facts["threshold"]) == (
            fitted["temperature"],
            fitted["threshold"],
        )
        assert facts["model"]["sha256"] == checksum(out / "model.tflite")
        return
    assert load_calibration(Run.open(out)).temperature == fitted["temperature"]
    info = json.loads((out / "config.json").read_text())
    assert info["calibrated"] == {
        path.name: checksum(path) for path in out.iterdir() if path.name in info["calibrated"]
    }


def test_an_export_empties_no_folder(copy, tmp_path, foodvision):
    from foodvision.calibration import calibrate

    calibrate(copy)
    for _ in range(2):
        done = foodvision("export", copy, "--format", "compact", "--out", tmp_path / "compact")
        assert done.returncode == 0, done.stderr
        (tmp_path / "compact" / "notes.txt").write_text("mine")
    assert (
        foodvision("export", copy, "--format", "compact", "--out", tmp_path / "compact").returncode
        == 0
    )
    assert (tmp_path / "compact" / "notes.txt").read_text() == "mine"


def test_a_run_that_cannot_be_written(copy, tmp_path, foodvision):
    "Its report and its exports go elsewhere; its calibration and its card are optional"
    if os.geteuid() == 0:
        mount = ["mount", "--bind", str(copy), str(copy)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("this machine does not let root mount")
        subprocess.run(["mount", "-o", "remount,ro,bind", str(copy)], check=True)
    else:
        copy.chmod(0o555)
    try:
        before = sorted(copy.rglob("*"))
        done = foodvision("evaluate", copy)
        assert done.returncode == 1 and "Say where the report shall go: --out" in done.stderr
        done = foodvision("evaluate", copy, "--out", tmp_path / "report")
        assert done.returncode == 0 and "the calibration cannot be kept" in done.stderr, done.stderr
        assert (tmp_path / "report" / "report.html").exists() and "Model card" not in done.stdout
        assert sorted(copy.rglob("*")) == before
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "--lazy", str(copy)], check=True)
        copy.chmod(0o755)
    assert foodvision("evaluate", copy).returncode == 0
    (copy / "README.md").unlink()
    (copy / "README.md").mkdir()  # the card cannot be written
    done = foodvision("export", copy, "--out", tmp_path / "exports", "--agreement", 0)
    assert done.returncode == 0 and "the model card cannot be kept" in done.stderr, done.stderr
    assert (tmp_path / "exports" / "litert.tflite").exists()


@pytest.fixture(scope="module")
def unequal(home):
    "A table of one-coloured photos, 100 of broth and 5 of stew to learn from, whose colours overlap"
    random, rows = np.random.default_rng(0), ["path,label,split"]
    for split, counts in {"train": (100, 5), "val": (40, 2), "test": (30, 30)}.items():
        for label, (name, count) in enumerate(zip(("broth", "stew"), counts)):
            for number in range(count):
                color = random.normal((150 + 40 * label, 110, 70), 25).clip(0, 255)
                photo = Image.new("RGB", (32, 32), tuple(map(int, color)))
                photo.save(home / f"{name}-{split}-{number}.png")
                rows.append(f"{name}-{split}-{number}.png,{name},{split}")
    (home / "unequal.csv").write_text("\n".join(rows))
    return home / "unequal.csv"


def test_class_weights_raise_balanced_accuracy(home, unequal):
    from foodvision.metrics import balanced_accuracy, predict_split
    from foodvision.model import load_model
    from foodvision.pipeline import decode_split
    from foodvision.training import train

    config = Config(data=str(unequal), backbone=str(home / "tiny.keras"), image_size=32, batch_size=16,
                    feature_epochs=12, fine_tune_epochs=2, fine_tune_learning_rate=1e-3, label_smoothing=0.1,
                    fine_tune_first_layer_multiplier=0.15, augmentation="none", policy="float32")  # fmt: skip
    found = {}
    for kind in ("none", "balanced"):
        trained = train(replace(config, class_weights=kind), home / f"weights-{kind}")
        test = decode_split(load_data(unequal).test, 32)
        predictions = predict_split(load_model(trained.model_path), test, trained.class_names)
        found[kind] = balanced_accuracy(predictions)["value"]
    assert found["balanced"] > found["none"] + 0.05, found
    # A row that moves from training to validation is other data, although no photo and no count changes.
    trained.record(complete=False)
    text = unequal.read_text()
    text = text.replace("broth-train-0.png,broth,train", "broth-train-0.png,broth,val")
    text = text.replace("broth-val-0.png,broth,val", "broth-val-0.png,broth,train")
    unequal.write_text(text)
    with pytest.raises(UserError, match="data was .* and is now"):
        train(None, trained.path, resume=True)
