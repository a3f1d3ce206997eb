"A training killed at any moment and resumed ends as one that was never interrupted: real processes, real signals"
import json
import os
import random
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import BIN

KILLS = int(os.environ.get("FOODVISION_KILLS", 10))  # `make kills` asks for 100
SETTINGS = ["--weights", "none", "--image-size", "32", "--feature-epochs", "4", "--fine-tune-epochs", "8",
            "--early-stopping-patience", "100", "--reduce-patience", "1", "--fine-tune-learning-rate", "3e-3",
            "--backup-steps", "1"]  # fmt: skip


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    "A headless model of two convolutions: real training steps that take milliseconds"
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    features = keras.layers.Rescaling(1 / 127.5, -1)(image)
    for filters in (16, 32):
        features = keras.layers.Conv2D(filters, 5, strides=4, padding="same", activation="relu")(features)
    path = tmp_path_factory.mktemp("backbone") / "tiny.keras"
    keras.Model(image, features).save(path)
    return path


@pytest.fixture(scope="module")
def start(offline, backbone):
    "A function that starts `foodvision train` as a process, or resumes it if the run is there"

    def start(folder, *more):
        begun = (folder / "config.json").exists()
        words = ["--resume", folder] if begun else ["--run", folder, "--backbone", backbone, *SETTINGS]
        words = [BIN / "foodvision", "train", *words, *more, "--no-evaluate"]
        environment = {**os.environ, **offline, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(list(map(str, words)), env=environment, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)  # fmt: skip

    return start


@pytest.fixture(scope="module")
def untouched(start, tmp_path_factory):
    "A run that nothing interrupted"
    folder = tmp_path_factory.mktemp("untouched") / "run"
    _, errors = (process := start(folder)).communicate(timeout=300)
    assert process.returncode == 0, errors
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
    assert all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True)), "other weights"
    logged = events(other)
    assert logged == events(one)
    assert len({event[:3] for event in logged}) == len(logged), "a step stands twice in TensorBoard"


def kill_at_random_moment(process, moments):
    "SIGKILL: half of the time anywhere from the start on, half of the time while a stage trains"
    began = time.monotonic()
    if moments.random() < 0.5:
        delay = moments.uniform(0, 12)
        while process.poll() is None and time.monotonic() - began < delay:
            time.sleep(0.01)
    else:
        said = ""
        while process.poll() is None and "Stage" not in said:
            said += process.stderr.read(1)
        time.sleep(moments.uniform(0, 1.5))
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()
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
            assert_equal_runs(untouched, folder)  # it got through between two kills: the next ones hit a new run
            folder = tmp_path / f"run_{attempts}"
        kills += kill_at_random_moment(start(folder), moments)
    _, errors = (process := start(folder)).communicate(timeout=300)
    assert process.returncode == 0, errors
    assert kills >= min(KILLS, 10)
    assert_equal_runs(untouched, folder)
    assert not (folder / "backup").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(start, untouched, tmp_path, number):
    "SIGTERM and Ctrl-C: a backup, the customary exit code, and the command that carries on"
    process, said = start(tmp_path / "run"), ""
    while "Stage 2" not in said and process.poll() is None:
        said += process.stderr.read(1)
    time.sleep(0.7)
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
