"A training that is killed at any moment and resumed ends like one that was never interrupted: real processes and signals"

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import start as start_process

KILLS = int(os.environ.get("FOODVISION_KILLS", 10))  # `make kills` asks for 100
SETTINGS = ["--weights", "none", "--image-size", "32", "--feature-epochs", "4", "--fine-tune-epochs", "8",
            "--fine-tune-learning-rate", "3e-3",
            "--head-learning-rate", "0.05", "--dropout", "0.1", "--checkpoint-steps", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    "A headless model of two convolutions: real training steps that take milliseconds"
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    features = keras.layers.Rescaling(1 / 127.5, -1)(image)
    for filters in (16, 32):
        features = keras.layers.Conv2D(filters, 5, strides=4, padding="same", activation="relu")(
            features
        )
    path = tmp_path_factory.mktemp("backbone") / "tiny.keras"
    keras.Model(image, features).save(path)
    return path


@pytest.fixture(scope="module")
def start(offline, backbone):
    "A function that starts `foodvision train` as a process, or resumes it if the run is there"
    started = []

    def start(folder, *more):
        begun = (folder / "config.json").exists()
        words = (
            ["--resume", folder] if begun else ["--run", folder, "--backbone", backbone, *SETTINGS]
        )
        words = ["foodvision", "train", *words, *more, "--no-evaluate"]
        started.append(start_process(*words, **offline))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="module")
def untouched(start, tmp_path_factory):
    "A run that nothing interrupted, whose search chose another dropout than its config's"
    folder = tmp_path_factory.mktemp("untouched") / "run"
    _, errors = (process := start(folder)).communicate(timeout=300)
    assert process.returncode == 0, errors
    info = json.loads((folder / "config.json").read_text())
    assert info["tune_head"][0]["dropout"] != info["config"]["dropout"]
    return folder


def weights(folder):
    from foodvision.model import load_model

    return load_model(folder / "model.keras").get_weights()


def history(folder):
    rows = json.loads((folder / "history.json").read_text())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def events(folder):
    from foodvision.callbacks import read_tensorboard

    return sorted(read_tensorboard(folder / "tensorboard"))


def assert_equal_runs(one, other):
    assert history(one) == history(other)
    assert all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True)), (
        "other weights"
    )
    logged = events(other)
    assert logged == events(one)
    assert len({event[:3] for event in logged}) == len(logged), "a step stands twice in TensorBoard"


def wait_for(words, process):
    "Wait until a process has written some words to its terminal, or has ended"
    while words not in process.read("stderr") and process.poll() is None:
        time.sleep(0.01)


def kill_at_random_moment(process, moments):
    "SIGKILL: half of the time anywhere from the start on, half of the time while a stage trains"
    began = time.monotonic()
    if moments.random() < 0.5:
        delay = moments.uniform(0, 6)
        while process.poll() is None and time.monotonic() - began < delay:
            time.sleep(0.01)
    else:
        wait_for("Stage", process)
        time.sleep(moments.uniform(0, 1.5))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


def is_complete(folder):
    config = folder / "config.json"
    return config.exists() and json.loads(config.read_text())["complete"]


@pytest.mark.parametrize("seed", range(max(KILLS // 10, 1)))
def test_killed_at_random_moments(start, untouched, tmp_path, seed):
    moments, folder, kills, attempts = random.Random(seed), tmp_path / "run", 0, 0
    while kills < min(KILLS, 10) and attempts < 40:
        attempts += 1
        if is_complete(folder):
            assert_equal_runs(
                untouched, folder
            )  # it got through between two kills: the next ones hit a new run
            folder = tmp_path / f"run_{attempts}"
        kills += kill_at_random_moment(start(folder), moments)
    _, errors = (process := start(folder)).communicate(timeout=300)
    assert process.returncode == 0, errors
    assert kills >= min(KILLS, 10)
    assert_equal_runs(untouched, folder)
    assert not (folder / "checkpoint").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(start, untouched, tmp_path, number):
    "SIGTERM and Ctrl-C: a checkpoint, the customary exit code, and the command that carries on"
    process, rows = start(tmp_path / "run"), tmp_path / "run" / "history.json"
    while process.poll() is None and "fine_tuning" not in (
        rows.read_text() if rows.exists() else ""
    ):
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    command = errors.split("Carry on with: ")[1].splitlines()[0].split()
    assert command == ["foodvision", "train", "--resume", str(tmp_path / "run")]
    assert "Traceback" not in errors
    _, errors = (process := start(tmp_path / "run")).communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_equal_runs(untouched, tmp_path / "run")


def test_the_comparison_can_fail(start, untouched, tmp_path):
    "Another seed is another run"
    _, errors = (process := start(tmp_path / "run", "--seed", "7")).communicate(timeout=300)
    assert process.returncode == 0, errors
    with pytest.raises(AssertionError):
        assert_equal_runs(untouched, tmp_path / "run")


# The same without processes: what a kill leaves behind is the folder as it is at that moment.

SMALL = dict(weights="none", image_size=32, batch_size=16, validation_fraction=0.25,
             checkpoint_steps=1, policy="float32")  # fmt: skip
DECIDED = {  # what a training decides by itself, or its state rests on, each other than its default
    "searched": dict(
        dropout=0.1, head_learning_rate=0.05, head_weight_decay=0.05, feature_epochs=2,
        fine_tune_epochs=2, fine_tune_learning_rate=3e-3, fine_tune_weight_decay=0.1,
        fine_tune_first_layer_multiplier=0.3,
    ),
    "given": dict(
        tune_head=False, dropout=0.4, head_learning_rate=0.3, head_weight_decay=0.01, batch_size=32,
        schedule="plateau", reduce_patience=1, reduce_factor=0.5, early_stopping_patience=2, seed=3,
        policy="mixed_float16", unfreeze_layers=1, augmentation="strong", label_smoothing=0.1, drop_label_issues="label_issues.csv",
        feature_epochs=9, fine_tune_epochs=9, fine_tune_learning_rate=0.1,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def few_photos(tmp_path_factory):
    "Three dishes, sixteen photos of each to learn from"
    from foodvision.drawing import draw_dish

    folder = tmp_path_factory.mktemp("photos")
    for dish in ("donuts", "pizza", "sushi"):
        for number in range(20):
            path = folder / ("train" if number < 16 else "test") / dish / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_dish(dish, number, (48, 48)).save(path)
    return folder


def copied_at_every_change(monkeypatch, config, folder, to):
    """Train, and return copies of the run's folder, one before each change of a file.

    Of the three renames of a checkpoint only the first is among them; the chapter on resuming tries
    the others.
    """
    from foodvision.training import train

    copies = []

    def watched(original, place):
        def change(*words, **options):
            path = Path(words[place])
            if folder in path.parents and not path.name.startswith((".", "newest", "previous")):
                name = f"{len(copies):03d} {original.__name__} {path.name}"
                copies.append(shutil.copytree(folder, to / name))
            return original(*words, **options)

        return change

    with monkeypatch.context() as patch:
        for function, place in ((os.replace, 1), (os.unlink, 0), (os.truncate, 0)):
            patch.setattr(os, function.__name__, watched(function, place))
        train(config, folder)
    return [copy for copy in copies if (copy / "config.json").exists()]


def everything(folder):
    "History, TensorBoard, what callbacks remember, best model, and all arrays of the last checkpoint"
    from foodvision.resume import load_checkpoint

    state, arrays = load_checkpoint(folder / "checkpoint")
    timed = ("rows", "seconds")
    remembered = [{name: value for name, value in one.items() if name not in timed}
                  for one in state["callbacks"]]  # fmt: skip
    return history(folder), events(folder), remembered, weights(folder), arrays


def differences(one, other):
    "What is not the same, bit for bit, in two runs"
    names = ("history", "TensorBoard", "callbacks", "weights", "optimizer")
    one, other = everything(one), everything(other)
    same = [a == b if name in names[:3] else all(map(np.array_equal, a, b)) and len(a) == len(b)
            for name, a, b in zip(names, one, other)]  # fmt: skip
    return [name for name, equal in zip(names, same) if not equal]


@pytest.mark.parametrize("decided", DECIDED)
def test_killed_before_every_change_of_a_file(decided, few_photos, backbone, tmp_path, monkeypatch):
    from foodvision import training
    from foodvision.run import Config, Run

    search = training.tune_head
    other_dropout_first = lambda *given: sorted(
        search(*given), key=lambda one: one["dropout"] == given[-1].dropout
    )
    monkeypatch.setattr(training, "tune_head", other_dropout_first)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(training, "remove_checkpoints", lambda folder: None)  # to look into it
    config = Config(data=str(few_photos), backbone=str(backbone), **{**SMALL, **DECIDED[decided]})
    monkeypatch.chdir(tmp_path)
    table = Path("label_issues.csv")
    rows = [f"train/pizza/{number}.png,pizza," for number in range(4)]
    table.write_text("\n".join(["file,label,keep", *rows]))
    copies = copied_at_every_change(monkeypatch, config, tmp_path / "run", tmp_path)
    table.unlink()
    run = Run.open(tmp_path / "run")
    if decided == "searched":
        assert run.info["tune_head"][0]["dropout"] != config.dropout
    else:
        copies = [copy for copy in copies if (copy / table).exists()]
        assert "Left out" in run.info["data"]["notes"][-1]
        for stage in ("feature_extraction", "fine_tuning"):
            rows = [row for row in run.history if row["stage"] == stage]
            assert 2 < len(rows) < 9, f"early stopping is to speak, and not at once: {len(rows)}"
            assert len({row["learning_rate"] for row in rows}) > 1, "the rate is to fall"
    resumed = {copy.name: training.train(None, copy, resume=True) for copy in copies}
    wrong = {
        name: found
        for name, other in resumed.items()
        if (found := differences(run.path, other.path))
    }
    assert not wrong and len(resumed) > 15
