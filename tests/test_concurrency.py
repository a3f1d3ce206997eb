"Several processes at once: a run folder takes one of them, the cache of features serves all of them"

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import run, start

from foodvision.errors import UserError
from foodvision.run import Config

SETTINGS = ["--data", "sample", "--weights", "none", "--image-size", "32", "--feature-epochs", "2", "--fine-tune-epochs", "2000",
            "--no-evaluate"]  # fmt: skip

# TensorFlow is imported once and used only after the fork, so each process has a TensorFlow of its own.
FOUR_PROCESSES = """
import os, sys, random, time
from pathlib import Path

import keras
import numpy as np

from foodvision import features
from foodvision.data import load_folder
from foodvision.pipeline import decode_split
from PIL import Image

PHOTOS, CACHE, ROUNDS = Path(sys.argv[1]), Path(sys.argv[2]), 16
HELD = CACHE / "held"

def work(number):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(image)
    extractor = keras.Model(image, keras.layers.Dense(4)(keras.layers.Flatten()(scaled)))
    decoded = decode_split(load_folder(PHOTOS).train, 8, progress=False)
    compute = features.FrozenModel(extractor, len(decoded))
    expected = compute(decoded.images)
    choice = random.Random(number)
    (CACHE / f"ready-{number}").touch()
    while len(list(CACHE.glob("ready-*"))) < 4:
        time.sleep(0.01)
    for _ in range(ROUNDS):
        some = np.roll(np.arange(len(decoded)), choice.randrange(8))[:6]
        part = features.replace(decoded, split=decoded.split.take(some), images=decoded.images[some])
        got = features.backbone_features(extractor, part, 2, 1, CACHE / "sets", 3e-6, compute=compute)
        assert np.abs(got - expected[some]).max() < 1e-5, (got, expected[some])

def hold_a_set():
    with features.use_feature_set(CACHE / "sets" / "held"):
        features.shard_path(CACHE / "sets" / "held", 0).write_bytes(bytes(3000))
        os.utime(CACHE / "sets" / "held", (0, 0))
        work(0)
        assert features.shard_path(CACHE / "sets" / "held", 0).exists(), "removed while it was in use"

CACHE.mkdir()
for label in "ab":
    for number in range(8):
        path = PHOTOS / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 16 * number + 3 * (label == "b"), "uint8")).save(path)
children = []
for number in range(4):
    if not (child := os.fork()):
        try:
            hold_a_set() if number == 0 else work(number)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
left = sorted(path.name for path in (CACHE / "sets").iterdir())
features.bound_cache(CACHE / "sets", 0)
print(codes, [name for name in left if name.startswith(".")], list((CACHE / "sets").iterdir()))
"""


def test_four_processes_share_a_cache_that_is_always_full(tmp_path):
    words = [sys.executable, "-c", FOUR_PROCESSES, tmp_path / "photos", tmp_path / "cache"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300)
    assert done.stdout == "[0, 0, 0, 0] [] []\n", done.stdout + done.stderr[-6000:]


@pytest.fixture(scope="module")
def training(offline, tmp_path_factory):
    "A training under way in a process of its own, and its folder; killed at the end"
    import keras

    folder = tmp_path_factory.mktemp("sharing")
    image = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(8, 5, strides=4)(keras.layers.Rescaling(1 / 127.5, -1)(image))
    keras.Model(image, features).save(folder / "tiny.keras")
    words = ["--run", folder / "run", "--backbone", folder / "tiny.keras", *SETTINGS]
    process = start("foodvision", "train", *words, **offline)
    while len(read_history(folder / "run")) < 3 and process.poll() is None:
        time.sleep(0.05)
    yield process, folder / "run"
    process.kill()


def read_history(folder):
    path = folder / "history.json"
    return json.loads(path.read_text()) if path.exists() else []


def refused(done):
    "The one line of a command that failed"
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_a_second_training_in_a_folder_is_told_so(training, offline, how):
    process, folder = training
    new = ["--run", folder, "--overwrite", *SETTINGS, "--fine-tune-epochs", 0]  # no estimate first
    words = ["--resume", folder] if how == "resume" else new
    part = folder / ".model.1.part.keras"  # as the first may be writing it just now
    part.touch()
    said = refused(run("foodvision", "train", *words, **offline))
    assert (
        said
        == f"foodvision: {folder} is in use by another process. Wait until it ends, or choose another name."
    )
    assert part.exists() and process.poll() is None
    rows = len(read_history(folder))
    while len(read_history(folder)) <= rows and process.poll() is None:
        time.sleep(0.05)
    assert process.poll() is None, "the first one goes on"


def test_a_killed_training_leaves_no_lock(training):
    from foodvision.training import train

    process, folder = training
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    with pytest.raises(
        UserError, match="was started with other settings"
    ):  # found out after the lock
        train(Config(seed=7), folder, resume=True)
    assert sorted(os.listdir(folder.parent)) == ["run", "tiny.keras"]
