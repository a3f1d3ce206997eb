"Full disks, missing rights, lack of memory, damaged files: one clear line, and nothing lost"

import contextlib
import functools
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import start

from foodvision.commands import describe_run
from foodvision.drawing import draw_dish
from foodvision.run import Run

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras
    pytest.mark.filterwarnings("ignore:overflow encountered in cast"),  # meant
]
SETTINGS = ["--weights", "none", "--image-size", "32", "--batch-size", "4", "--feature-epochs", "2",
            "--fine-tune-epochs", "2",
            "--no-deterministic"]  # fmt: skip


def command(*words):
    "Exit code, stdout and stderr of `foodvision` with these words, in this process"
    from foodvision.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def refused(code, *words):
    "The one line that the command ends with"
    given, _, err = command(*words)
    last = err.strip().splitlines()[-1]
    assert given == code and last.startswith("foodvision: ") and "Traceback" not in err, err[-2000:]
    return last


def make_photos(root):
    for part, count in {"train": 8, "test": 3}.items():
        for class_name in ("donuts", "pizza", "sushi"):
            (root / part / class_name).mkdir(parents=True)
            for seed in range(count):
                place = root / part / class_name / f"{seed}.jpg"
                draw_dish(class_name, seed + 100 * (part == "test"), (64, 48)).save(place)
    return root


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    "Features of earlier tests would hide what this machine does"
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("data") / "photos")


def make_backbone(path, scale=1 / 127.5, activation="relu"):
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(16, 5, strides=4, activation=activation)(
        keras.layers.Rescaling(1 / 127.5, -1)(image)
    )
    features = keras.layers.Conv2D(24, 3, padding="same", activation="relu")(features)
    keras.Model(image, keras.layers.Rescaling(scale * 127.5)(features)).save(path)
    return path


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return make_backbone(tmp_path_factory.mktemp("backbone") / "tiny.keras")


@pytest.fixture(scope="module")
def training(photos, backbone):
    "Words of a training that takes a second or two"
    return ["train", "--data", photos, "--backbone", backbone, *SETTINGS, "--no-evaluate"]


def when_rows(folder, count, action):
    "Act once the history has so many rows; gives back the thread"

    def watch():
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                if len(json.loads((folder / "history.json").read_text())) >= count:
                    return action()
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def stopped(training, tmp_path_factory):
    "A run that was asked to stop while fine-tuning"
    folder = tmp_path_factory.mktemp("stopped") / "run"
    before = signal.signal(signal.SIGTERM, lambda *ignored: None)
    try:
        thread = when_rows(folder, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        code, _, err = command(
            *training, "--fine-tune-epochs", 40, "--checkpoint-steps", 1, "--run", folder
        )
        thread.join()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 128 + signal.SIGTERM, err[-2000:]
    assert {path.name for path in (folder / "checkpoint").iterdir()} == {
        "best_head.npz",
        "newest.checkpoint",
        "previous.checkpoint",
    }
    return folder


@pytest.fixture
def interrupted(stopped, tmp_path):
    "A copy of that run, to do harm to"
    return shutil.copytree(stopped, tmp_path / "run")


def assert_sound(folder):
    "No half-written file; whatever stands there can be read"
    from foodvision.model import load_model
    from foodvision.resume import load_checkpoint

    assert not [path for path in folder.rglob(".*")]
    run = Run.open(folder)
    rows, held = run.history, load_checkpoint(folder / "checkpoint")
    if list((folder / "checkpoint").glob("*.checkpoint")):
        assert held and not list((folder / "checkpoint").glob("*.damaged"))
    if any(np.isfinite(row["val_loss"]) for row in rows[:-1]):
        assert load_model(run.model_path).count_params() > 0


# Disks.


@contextlib.contextmanager
def mounted(place, *words):
    place.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    done = subprocess.run(["mount", *words, str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("kilobytes", [4, 16, 60, 120, 160])
def test_disk_full(training, tmp_path, kilobytes):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs") as disk:
        said = refused(1, *training, "--checkpoint-steps", 1, "--run", disk / "run")
        assert said.startswith("foodvision: No space left on device")
        assert said.endswith(f"carry on with: foodvision train --resume {disk / 'run'}")
        assert ("the last checkpoint" in said) == (
            disk / "run" / "checkpoint" / "newest.checkpoint"
        ).exists()
        assert ("the best model" in said) == (disk / "run" / "model.keras").exists()
        assert_sound(disk / "run")
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        code, out, err = command("train", "--resume", disk / "run", "--no-evaluate")
        assert code == 0 and Run.open(disk / "run").info["complete"], err[-2000:]
        assert [row["epoch"] for row in Run.open(disk / "run").history] == [1, 2, 3, 4]


def test_no_space_for_a_run_at_all(training, tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "tmpfs") as disk:
        (disk / "full").write_bytes(bytes(4096))
        assert "No space left on device" in refused(1, *training, "--run", disk / "run")
        assert [path.name for path in disk.iterdir()] == ["full"]


def test_read_only_folder_for_a_new_run(training, tmp_path):
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o555)
        assert "Permission denied" in refused(1, *training, "--run", tmp_path / "closed" / "run")
        return
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "ro", "tmpfs") as disk:
        assert "Read-only file system" in refused(1, *training, "--run", disk / "run")


def test_read_only_run_on_resume(interrupted):
    def held():
        return {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}

    before = held()
    if os.geteuid() != 0:
        for path in [interrupted, *interrupted.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        assert "Permission denied" in refused(1, "train", "--resume", interrupted)
    else:
        with mounted(interrupted, "--bind", str(interrupted)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(interrupted)], check=True)
            said = refused(1, "train", "--resume", interrupted)
            assert (
                "Read-only file system" in said and "the last checkpoint and the best model" in said
            )
    assert held() == before
    assert_sound(interrupted)


def test_run_removed_under_way(training, tmp_path):
    folder = tmp_path / "run"
    thread = when_rows(folder, 3, lambda: folder.rename(tmp_path / "moved"))
    said = refused(1, *training, "--fine-tune-epochs", 200, "--run", folder)
    thread.join()
    assert f"{folder} was removed while the training ran" in said
    assert not (folder / "config.json").exists()
    assert_sound(tmp_path / "moved")


# Runs that were tampered with, or are not what they were.


def change(folder, **facts):
    info = json.loads((folder / "config.json").read_text())
    for name, value in facts.items():
        place, _, key = name.rpartition("__")
        (info[place] if place else info)[key] = value
    (folder / "config.json").write_text(json.dumps(info))


ALTERED = {
    "unknown field": (dict(config__colour="red"), "Unknown setting: colour"),
    "wrong type": (dict(config__image_size="large"), "image_size must be of type int"),
    "out of range": (dict(config__batch_size=10**9), "batch_size must be between"),
    "not a number": (
        dict(config__dropout=float("nan")),
        "dropout must be of type float (a finite number)",
    ),
    "unknown choice": (dict(config__policy="float8"), "policy must be one of"),
    "config is a list": (dict(config=[1, 2]), "config must be of type dict"),
    "class names are numbers": (dict(class_names=[1, 2, 3]), "class_names.0 must be of type str"),
    "one class name": (dict(class_names=["pizza"]), "class_names must be two or more"),
    "a class twice": (dict(class_names=["pizza", "pizza"]), "class_names must be two or more"),
    "complete is a word": (dict(complete="yes"), "complete must be of type bool"),
    "temperature is zero": (dict(temperature=0), "temperature must be above 0"),
    "versions are a list": (dict(versions=["keras"]), "versions must be of type dict"),
}


@pytest.mark.parametrize("title", ALTERED)
def test_altered_config(interrupted, title):
    facts, reason = ALTERED[title]
    change(interrupted, **facts)
    for words in (
        ["info", interrupted],
        ["train", "--resume", interrupted],
        ["predict", interrupted, "a.jpg"],
    ):
        assert reason in refused(2, *words)


EARLIER = {  # what an earlier version left in a run folder, and what the line says of it
    "settings": (
        lambda folder: change(
            folder,
            config__head_search=True,
            config__backup_minutes=5.0,
            config__drop_suspects="",
            config__fine_tune_first_layer_rate=0.15,
        ),
        "Unknown setting: backup_minutes, drop_suspects, fine_tune_first_layer_rate, head_search.",
    ),
    "checkpoint": (
        lambda folder: [
            *(
                path.rename(path.with_suffix(".backup"))
                for path in folder.glob("checkpoint/*.checkpoint")
            ),
            (folder / "checkpoint").rename(folder / "backup"),
        ],
        "has a backup folder.",
    ),
}


@pytest.mark.parametrize("what", EARLIER)
def test_a_run_of_an_earlier_version(interrupted, photos, tmp_path, what):
    "Each command says so in one line, with a way out, and leaves the run as it is; it can be overwritten"
    make, reason = EARLIER[what]
    make(interrupted)
    before = {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}
    photo = photos / "test" / "pizza" / "0.jpg"
    for words in (
        ["info", interrupted],
        ["train", "--resume", interrupted],
        ["evaluate", interrupted],
        ["predict", interrupted, photo],
        ["export", interrupted, "--format", "hub"],
        ["audit", interrupted],
        ["app", interrupted],
    ):
        line = refused(2, *words)
        assert reason in line and line.endswith(
            "An earlier version of foodvision made this run; train it again, or use that version."
        ), (words, line)
    assert {path: path.read_bytes() for path in before} == before
    Run.create(interrupted, Run.open("food101").config, overwrite=True)
    assert not [path for path in interrupted.rglob("*.backup")]
    assert Run.open(interrupted).history == []


@pytest.mark.parametrize("content, reason", [
    (b"", "cannot be read"), (b"{", "cannot be read"), (b"[]", "must be of type dict"), (b"\xff\xfe\0", "cannot be read"),
    (b"[" * 200_000, "recursion"), (b'{"config": ' + b"9" * 5000 + b"}", "cannot be read"),
], ids=["empty", "cut off", "a list", "other bytes", "nested 200,000 deep", "a number of 5,000 digits"])  # fmt: skip
def test_config_that_is_none(interrupted, content, reason):
    (interrupted / "config.json").write_bytes(content)
    assert reason in refused(2, "info", interrupted)


def test_huge_config(interrupted):
    os.truncate(interrupted / "config.json", 3 * 2**30)  # takes no space
    assert "larger than 64 MiB" in refused(2, "info", interrupted)


def test_damaged_history(interrupted):
    (interrupted / "history.json").write_text('[{"stage": ')
    assert "history.json cannot be read" in refused(2, "info", interrupted)


def damaged(content):
    "Every place in a JSON value: taken out, and with something else there; the whole with that damage"
    others = [None, True, -7, 0.5, float("nan"), 10**400, "a\0b", [], ["x"], {}, {"x": 1}]

    def places(value, place=()):
        if place:
            yield place
        inner = (
            value.items()
            if isinstance(value, dict)
            else list(enumerate(value))[:1]
            if isinstance(value, list)
            else ()
        )
        for key, part in inner:
            yield from places(part, (*place, key))

    for *way, last in places(content):
        for other in [KeyError, *others]:
            copy = json.loads(json.dumps(content))
            home = functools.reduce(lambda value, key: value[key], way, copy)
            if other is KeyError:
                del home[last]
            elif home[last] != other:
                home[last] = other
            yield copy


@pytest.fixture(scope="module")
def measured(stopped, tmp_path_factory):
    "A run with every fact there is: stopped in stage 2, its head's settings searched for, evaluated"
    folder = shutil.copytree(stopped, tmp_path_factory.mktemp("measured") / "run")
    settings = {"learning_rate": 0.002, "weight_decay": 0.1, "dropout": 0.2}
    light = {name: Run.open("food101").info[name] for name in ("measured", "compact")}
    change(
        folder,
        config__fine_tune_epochs=2,
        tune_head=[settings],
        accepted_changes=["numpy was 1.0"],
        **light,
    )
    code, _, err = command("evaluate", folder)
    assert code == 0, err[-2000:]
    return folder


def test_a_run_is_read_or_refused_whatever_is_damaged(measured, tmp_path):
    "Of config.json and history.json: each place taken out, and replaced by each kind of value"
    from foodvision.errors import UserError

    (
        shutil.copy(measured / "config.json", tmp_path),
        shutil.copy(measured / "history.json", tmp_path),
    )
    count = 0
    for name in ("config.json", "history.json"):
        whole = (tmp_path / name).read_text()
        for content in damaged(json.loads(whole)):
            (tmp_path / name).write_text(json.dumps(content))
            count += 1
            try:
                run = Run.open(tmp_path)
                describe_run(run)
                assert run.class_names and run.history
            except UserError as error:
                assert (
                    str(tmp_path / name) in str(error)
                    and "\n" not in str(error)
                    and len(str(error)) < 500
                ), error
        (tmp_path / name).write_text(whole)
    assert count > 1500


SPARE = ("created policy device threads parameters distribution seconds tune_head measured compact accepted_changes "
         "temperature threshold").split()  # fmt: skip


def without(info, *names):
    return {name: value for name, value in info.items() if name not in names}


def with_nonsense(info):
    "What no command needs, or may fail without: each such part of a fact is a list of nothing, or a word"
    threshold = {name: {"value": part["value"], "risk": "low", "auroc": []} if "risk" in part else part
                 for name, part in info["threshold"].items() if isinstance(part, dict)}  # fmt: skip
    return {**info, "created": "x", "parameters": {}, "distribution": {}, "seconds": {}, "colour": ["x"],
            "device": {"accelerators": [], "cores": []}, "threshold": {**info["threshold"], **threshold, "photos": "x", "out_of_distribution": []},
            "data": {**info["data"], "photo_sizes": "x", "bad_images": [], "counts": {}}}  # fmt: skip


LESS = {
    "everything that may be spared": lambda info: without(info, *SPARE),
    "class names": lambda info: without(info, "class_names"),
    "data": lambda info: without(info, "data"),
    "temperature": lambda info: without(info, "temperature"),
    "threshold": lambda info: without(info, "threshold"),
    "nonsense": with_nonsense,
}


@pytest.mark.parametrize("title", LESS)
def test_every_command_on_a_damaged_run(measured, photos, tmp_path, title):
    "One line, or an answer; never a traceback"
    folder = shutil.copytree(measured, tmp_path / "run")
    info = LESS[title](json.loads((folder / "config.json").read_text()))
    photo = photos / "test" / "pizza" / "0.jpg"
    for words in (["info", folder], ["predict", folder, photo], ["evaluate", folder],
                  ["export", folder, "--format", "hub"], ["train", "--resume", folder, "--no-evaluate"]):  # fmt: skip
        (folder / "config.json").write_text(json.dumps(info))
        code, _, err = command(*words)
        said = [line for line in err.splitlines() if line.startswith("foodvision: ")]
        assert "Traceback" not in err and (code == 0 or len(said) == 1), err[-2000:]
        assert code == 0 or title != "nonsense", said


@pytest.mark.parametrize("fact", ["class_names", "data", "policy", "device", "threads"])
def test_facts_that_a_resume_needs(measured, tmp_path, fact):
    folder = shutil.copytree(measured, tmp_path / "run")
    (folder / "config.json").write_text(
        json.dumps(without(json.loads((folder / "config.json").read_text()), fact))
    )
    before = (folder / "config.json").read_bytes()
    assert f"config.json cannot be read as a run's: {fact} is missing" in refused(
        2, "train", "--resume", folder
    )
    assert (folder / "config.json").read_bytes() == before


def test_other_settings_on_resume(interrupted):
    assert "leave out: seed" in refused(2, "train", "--resume", interrupted, "--seed", 7)
    from dataclasses import replace

    from foodvision.errors import UserError
    from foodvision.training import train

    with pytest.raises(UserError, match="seed was 42 and is now 7"):
        train(replace(Run.open(interrupted).config, seed=7), interrupted, resume=True)


def test_other_versions_on_resume(interrupted):
    versions = Run.open(interrupted).info["versions"]
    change(interrupted, versions={**versions, "keras": "2.0.0", "numpy": "1.0.0"})
    said = refused(2, "train", "--resume", interrupted)
    assert (
        "keras was 2.0.0 and is now" in said and "numpy was 1.0.0" in said and "pillow" not in said
    )
    assert "--accept-changes" in said


def test_other_data_on_resume(interrupted, tmp_path, photos):
    "A photo added: refused, and taken if that is accepted"
    copy = shutil.copytree(photos, tmp_path / "photos")
    change(interrupted, config__data=str(copy), config__fine_tune_epochs=5)
    draw_dish("pizza", 77, (64, 48)).save(copy / "train" / "pizza" / "new.jpg")
    before = (interrupted / "config.json").read_bytes()
    said = refused(2, "train", "--resume", interrupted)
    assert "data was" in said and "--accept-changes" in said and "keras" not in said
    assert (interrupted / "config.json").read_bytes() == before
    code, _, err = command("train", "--resume", interrupted, "--accept-changes", "--no-evaluate")
    assert code == 0, err[-2000:]
    run = Run.open(interrupted)
    assert run.info["complete"] and run.info["accepted_changes"][0].startswith("data was")
    assert run.info["data"]["counts"]["train"] + run.info["data"]["counts"]["validation"] == 25


def test_other_pixels_in_a_file_of_the_same_size_on_resume(interrupted, tmp_path, photos):
    copy = shutil.copytree(photos, tmp_path / "photos")
    change(interrupted, config__data=str(copy))
    path, other = copy / "train" / "pizza" / "0.jpg", tmp_path / "other.jpg"
    size = path.stat().st_size
    draw_dish("pizza", 77, (24, 18)).save(other, quality=30)
    path.write_bytes(other.read_bytes().ljust(size, b"\0"))
    assert path.stat().st_size == size
    assert "data was" in refused(2, "train", "--resume", interrupted)


def test_other_classes_on_resume(interrupted, tmp_path, photos):
    copy = shutil.copytree(photos, tmp_path / "photos")
    for part in ("train", "test"):
        (copy / part / "sushi").rename(copy / part / "zushi")
    change(interrupted, config__data=str(copy))
    assert "classes" in refused(2, "train", "--resume", interrupted, "--accept-changes")


def test_truncated_checkpoint(interrupted):
    "The one before is used, and said"
    change(interrupted, config__fine_tune_epochs=5)
    newest = interrupted / "checkpoint" / "newest.checkpoint"
    os.truncate(newest, newest.stat().st_size // 2)
    code, out, err = command("train", "--resume", interrupted, "--no-evaluate")
    assert code == 0, err[-2000:]
    assert out.count("newest.checkpoint is damaged") == 1 and "No whole checkpoint" not in out
    assert [row["epoch"] for row in Run.open(interrupted).history] == list(range(1, 8))


def test_no_whole_checkpoint(interrupted):
    "Both are damaged: it begins again, and says so"
    change(interrupted, config__fine_tune_epochs=1)
    for path in (interrupted / "checkpoint").iterdir():
        path.write_bytes(b"")
    code, out, err = command("train", "--resume", interrupted, "--no-evaluate")
    assert code == 0, err[-2000:]
    assert "No whole checkpoint is left; starting again from the beginning." in out
    assert [row["epoch"] for row in Run.open(interrupted).history] == [1, 2, 3]
    assert_sound(interrupted)


# Numbers that run away.


def test_loss_is_no_number_from_the_start(training, tmp_path):
    scale = make_backbone(tmp_path / "overflow.keras", 1e38)
    rate = ["--no-tune-head", "--head-learning-rate", 0.001]
    said = refused(1, *training, "--backbone", scale, *rate, "--run", tmp_path / "run")
    assert (
        "at step 1 of" in said
        and "learning rate of 0.001" in said
        and "Try a learning rate" in said
    )


def test_loss_runs_away_later(training, tmp_path):
    "Fine-tuning at a mad rate: the best model of the stage before is kept"
    steep = make_backbone(tmp_path / "steep.keras", activation="exponential")
    rate = ["--schedule", "plateau", "--fine-tune-learning-rate", 10]
    said = refused(1, *training, "--backbone", steep, *rate, "--run", tmp_path / "run")
    assert "The loss became" in said and "learning rate of 10." in said
    assert len(Run.open(tmp_path / "run").history) >= 2
    assert_sound(tmp_path / "run")


# Strangers' files.


class Harm:
    "What a pickle can do when it is read"

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def hostile_lambda(path, marker):
    import keras

    image = keras.Input((32, 32, 3))
    harm = eval(f"lambda x: (__import__('os').makedirs({str(marker)!r}, exist_ok=True), x)[1]")
    keras.Model(image, keras.layers.Conv2D(3, 3)(keras.layers.Lambda(harm)(image))).save(path)
    marker.rmdir()  # building it has already done what loading it shall not do


def hostile_config(path, marker, layer):
    config = {"module": "keras", "class_name": "Functional", "config": {
        "name": "model", "trainable": True, "layers": [layer], "input_layers": [["in", 0, 0]],
        "output_layers": [["in", 0, 0]]}, "registered_name": "Functional"}  # fmt: skip
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", pickle.dumps(Harm(marker)))


def hostile_class(path, marker):
    hostile_config(path, marker, {"module": "os", "class_name": "mkdir", "config": {"path": str(marker)},
                                  "registered_name": None, "name": "in"})  # fmt: skip


def hostile_function(path, marker):
    hostile_config(
        path,
        marker,
        {
            "module": "keras.layers",
            "class_name": "Activation",
            "name": "in",
            "config": {
                "activation": {
                    "module": "os",
                    "class_name": "function",
                    "config": "mkdir",
                    "registered_name": "mkdir",
                }
            },
        },
    )


def hostile_pickle(path, marker):
    import keras

    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(3, 3)]).save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["model.weights.h5"] = pickle.dumps(Harm(marker))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def plain_pickle(path, marker):
    path.write_bytes(pickle.dumps(Harm(marker)))


HOSTILE = [hostile_lambda, hostile_class, hostile_function, hostile_pickle, plain_pickle]


@pytest.mark.parametrize("make", HOSTILE)
def test_hostile_model(make, interrupted, training, tmp_path):
    "Refused as a run's model, as a backbone and as weights; its code never runs"
    from foodvision.errors import UserError
    from foodvision.model import load_model

    evil, marker = tmp_path / "evil.keras", tmp_path / "harm"
    make(evil, marker)
    shutil.copy(evil, interrupted / "model.keras")
    with pytest.raises(UserError) as caught:
        load_model(evil)
    assert (
        caught.value.exit_code == 1
        and "evil.keras" in str(caught.value)
        and "\n" not in str(caught.value)
    )
    assert "model.keras" in refused(1, "predict", interrupted, "photo.jpg")
    assert "evil.keras" in refused(1, *training, "--backbone", evil, "--run", tmp_path / "new")
    assert "evil.keras" in refused(1, *training, "--weights", evil, "--run", tmp_path / "new")
    assert not marker.exists() and not (tmp_path / "new").exists()


def test_hostile_weights(training, tmp_path):
    for name in ("evil.h5", "evil.weights.h5"):
        plain_pickle(tmp_path / name, tmp_path / "harm")
        assert name in refused(
            1, *training, "--weights", tmp_path / name, "--run", tmp_path / "new"
        )
    assert not (tmp_path / "harm").exists() and not (tmp_path / "new").exists()


def test_hostile_checkpoint(interrupted, tmp_path):
    "A pickle with the right checksum in the place of a checkpoint"
    import hashlib

    content = io.BytesIO()
    np.savez(content, state=np.array(Harm(tmp_path / "harm"), dtype=object), array_0=np.zeros(1))
    for path in (interrupted / "checkpoint").iterdir():
        path.write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
    change(interrupted, config__fine_tune_epochs=1)
    code, out, err = command("train", "--resume", interrupted, "--no-evaluate")
    assert code == 0 and "No whole checkpoint is left" in out, err[-2000:]
    assert not (tmp_path / "harm").exists()


def test_lambda_does_its_harm_where_it_is_let(tmp_path):
    "The hostile file is one: without safe mode its code runs"
    import keras

    hostile_lambda(tmp_path / "evil.keras", tmp_path / "harm")
    keras.saving.load_model(tmp_path / "evil.keras", safe_mode=False)
    assert (tmp_path / "harm").exists()


# Bad photos in a training, as a person starts it.


@pytest.fixture(scope="module")
def with_bad_photos(tmp_path_factory):
    root = make_photos(tmp_path_factory.mktemp("bad") / "photos")
    good = (root / "train" / "pizza" / "0.jpg").read_bytes()
    (root / "train" / "pizza" / "cut.jpg").write_bytes(good[:700])
    (root / "train" / "sushi" / "page.jpg").write_text("<html>")
    (root / "train" / "donuts" / "empty.jpg").touch()
    (root / "test" / "pizza" / "tested.jpg").write_bytes(good[:600])
    return root


@pytest.fixture(scope="module")
def policies(with_bad_photos, backbone, offline, tmp_path_factory):
    "Both policies, two processes at a time: exit code, stdout, stderr and the run folder by policy"
    place, started = tmp_path_factory.mktemp("policies"), {}
    for policy in ("fail", "skip"):
        words = ["foodvision", "train", "--data", with_bad_photos, "--backbone", backbone, *SETTINGS,
                 "--on-bad-image", policy, "--run", place / policy]  # fmt: skip
        started[policy] = start(*words, **offline)
    said = {policy: process.communicate(timeout=300) for policy, process in started.items()}
    return {
        policy: (started[policy].returncode, *said[policy], place / policy) for policy in started
    }


def test_fail_names_the_photo_and_leaves_nothing(policies):
    code, out, err, folder = policies["fail"]
    last = err.strip().splitlines()[-1]
    assert code == 1 and "Traceback" not in err and "Stage 1" not in err
    assert last.startswith("foodvision: train/") and "is not a readable photo" in last
    assert any(name in last for name in ("cut.jpg", "page.jpg", "empty.jpg"))
    assert not folder.exists()


def test_skip_trains_and_lists(policies):
    code, out, err, folder = policies["skip"]
    assert code == 0, err[-3000:]
    run = Run.open(folder)
    listed = {Path(bad["name"]).name: bad["reason"] for bad in run.info["data"]["bad_images"]}
    assert (
        set(listed) == {"cut.jpg", "page.jpg", "empty.jpg"}
        and listed["empty.jpg"] == "the file is empty"
    )
    assert run.info["complete"] and len(run.history) == 4


def test_skipped_photos_stand_in_the_report(policies):
    report = (policies["skip"][3] / "report" / "report.md").read_text(encoding="utf-8")
    for name in ("cut.jpg", "page.jpg", "empty.jpg", "tested.jpg"):
        assert name in report
