"The commands as a user runs them: processes, their output, their exit codes, the files they leave"

import contextlib
import csv
import io
import json
import os
import shutil
import socket
from threading import Thread

import numpy as np
import pytest
from conftest import run
from PIL import Image

from foodvision.drawing import draw_dish
from foodvision.run import Config, Run

COLOURS = {"brick": (170, 60, 40), "grass": (60, 150, 50), "water": (40, 80, 190)}


def draw(folder, count, seed=0):
    "A person's folder: three classes of coloured noise"
    random = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            noise = random.normal(colour, 50, (40, 56, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(noise).save(folder / name / f"{i}.jpg")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("photos") / "walk", 20)


@pytest.fixture(scope="module")
def trained(foodvision, photos, tmp_path_factory):
    "A run of both stages on the person's folder, and what the command printed"
    folder = tmp_path_factory.mktemp("runs") / "walk"
    done = foodvision(
        "train",
        "--data",
        photos,
        "--run",
        folder,
        *SMALL,
        "--weights",
        "imagenet",
        "--no-group-look-alikes",  # all photos of a class are one colour
        timeout=600,
        cold=True,
    )
    assert done.returncode == 0, done.stderr
    return folder, done


SMALL = ["--backbone", "EfficientNetLite0", "--image-size", "32", "--feature-epochs", "20", "--fine-tune-epochs", "1",
         "--batch-size", "8", "--head-learning-rate", "0.01"]  # fmt: skip


def test_train_says_what_it_does_and_where(trained, photos):
    folder, done = trained
    assert done.stdout.startswith(
        f"Training EfficientNetLite0 on {photos} at 32 pixels\nThe run goes to {folder}\n"
    )
    assert done.stdout.splitlines()[-1] == f"Run: {folder}"
    assert (
        "top-1: " in done.stdout and f"Report: {folder / 'report' / 'report.html'}" in done.stdout
    )
    assert (
        "Stage 1" in done.stderr and "Stage 2" in done.stderr and "step" in done.stderr
    )  # progress
    assert not [
        line
        for line in done.stderr.splitlines()
        if "Traceback" in line or "WARNING" in line or "cuda" in line
    ]


def test_a_run_is_complete(trained):
    folder, _ = trained
    kept = {path.name for path in folder.iterdir()}
    assert (
        kept >= {"config.json", "model.keras", "history.json", "tensorboard", "report"}
        and "checkpoint" not in kept
    )
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    assert 0.34 < metrics["top_1"]["value"] <= 1  # three classes of different colours
    low, high = metrics["top_1"]["interval"]
    assert low <= metrics["top_1"]["value"] <= high
    rows = list(csv.DictReader((folder / "report" / "predictions.csv").open(encoding="utf-8-sig")))
    assert len(rows) == metrics["photos"] == 12
    assert not list(folder.rglob(".*"))


def test_evaluate_gives_the_same_again(trained, foodvision):
    folder, _ = trained
    before = json.loads((folder / "report" / "metrics.json").read_text())
    done = foodvision("evaluate", folder)
    assert done.returncode == 0, done.stderr
    after = json.loads((folder / "report" / "metrics.json").read_text())
    assert after["top_1"] == before["top_1"]


def test_evaluate_on_other_photos(trained, foodvision, tmp_path):
    folder, _ = trained
    done = foodvision("evaluate", folder, "--data", draw(tmp_path / "other", 10, seed=1))
    assert done.returncode == 0, done.stderr
    assert "top-1: " in done.stdout


def test_predict(trained, foodvision, photos):
    folder, _ = trained
    pattern = str(photos / "water" / "1*.jpg")
    done = foodvision("predict", folder, photos / "brick" / "0.jpg", pattern, "--top", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert (
        len(lines) == 12 and str(photos / "brick" / "0.jpg") in done.stdout
    )  # 0.jpg, and 1, 10, 11, … 19
    assert "%" in lines[0]


def test_predict_json_and_csv(trained, foodvision, photos):
    folder, _ = trained
    done = foodvision("predict", folder, photos / "grass", "--json", "--top", "3")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(answers) == 20
    for answer in answers:
        probabilities = [guess["probability"] for guess in answer["ranked"]]
        assert (
            probabilities == sorted(probabilities, reverse=True)
            and abs(sum(probabilities) - 1) < 1e-4
        )
        assert {guess["class"] for guess in answer["ranked"]} == set(COLOURS)
    table = foodvision("predict", folder, photos / "grass", "--csv")
    rows = list(csv.DictReader(io.StringIO(table.stdout)))
    assert [row["class_1"] for row in rows] == [answer["ranked"][0]["class"] for answer in answers]


def test_predict_takes_one_style(trained, foodvision, photos):
    done = foodvision("predict", trained[0], photos / "grass", "--json", "--csv")
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "foodvision: Choose one of --json and --csv\n",
    )


def test_not_sure_is_measured_on_photos_of_ones_own(trained, foodvision, photos, tmp_path):
    folder, _ = trained
    (tmp_path / "others").mkdir()
    for number in range(4):
        draw_dish("pizza", number, (64, 48)).save(tmp_path / "others" / f"{number}.jpg")
    copy = shutil.copytree(folder, tmp_path / "copy")
    done = foodvision("evaluate", copy, "--out-of-distribution", tmp_path / "others")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((copy / "report" / "metrics.json").read_text())
    assert (metrics["out_of_distribution"], metrics["out_of_distribution_name"]) == (2, "others")
    done = foodvision("evaluate", copy, "--out-of-distribution", tmp_path / "none")
    assert done.returncode == 2 and "No folder with photos of other things" in done.stderr


def test_predict_goes_on_past_bad_files(trained, foodvision, photos, tmp_path):
    folder, _ = trained
    bad = tmp_path / "page.jpg"
    bad.write_text("<html>not a photo</html>")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((photos / "brick" / "1.jpg").read_bytes()[:400])
    done = foodvision("predict", folder, bad, photos / "brick" / "0.jpg", cut)
    assert done.returncode == 1
    assert len(done.stdout.strip().splitlines()) == 1
    assert str(bad) in done.stderr and str(cut) in done.stderr and "Traceback" not in done.stderr


def test_info(trained, foodvision):
    folder, _ = trained
    done = foodvision("info", folder)
    assert done.returncode == 0
    for words in ["complete", "brick, grass, water", "EfficientNetLite0", "scaled to 32", "keras"]:
        assert words in done.stdout


@pytest.mark.parametrize(
    "words",
    [[], ["train"], ["evaluate"], ["predict"], ["info"]],
    ids=lambda words: " ".join(words) or "foodvision",
)
def test_help(foodvision, words):
    done = foodvision(*words, "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: foodvision")


def make_cases(folder):
    "Wrong calls by name: the words, the exit code, and what the one line must say"
    one, empty, few = folder / "one", folder / "empty", folder / "few"
    draw(one, 4)
    for name in ("grass", "water"):
        for path in (one / name).iterdir():
            path.unlink()
        (one / name).rmdir()
    draw(empty, 4)
    (empty / "salt").mkdir()
    draw(few, 4)
    (few / "brick" / "2.jpg").write_text("<html></html>")
    (folder / "file.txt").write_text("no folder")
    (folder / "fake").mkdir()
    other = folder / "other.weights.h5"
    other.write_bytes(b"no weights")
    return {
        "missing folder": (["train", "--data", folder / "nowhere"], 2, "nowhere"),
        "a file as folder": (["train", "--data", folder / "file.txt"], 2, "file.txt"),
        "one class": (["train", "--data", one], 2, "class"),
        "empty class": (["train", "--data", empty], 2, "salt"),
        "unreadable photo": (["train", "--data", few, *SMALL, "--weights", "none"], 1, "brick/2.jpg"),
        "unknown backbone": (["train", "--backbone", "EfficientNetB9"], 2, "EfficientNetB"),
        "weights that are none": (["train", "--backbone", "EfficientNetLite0", "--weights", other], 1, "other.weights.h5"),
        "size 0": (["train", "--image-size", "0"], 2, "image_size"),
        "size 10000": (["train", "--image-size", "10000"], 2, "image_size"),
        "no number": (["train", "--batch-size", "many"], 2, "many"),
        "no run": (["predict", folder / "fake", "photo.jpg"], 2, "fake"),
        "missing run": (["evaluate", folder / "nowhere"], 2, "nowhere"),
        "nothing to resume": (["train", "--resume", folder / "fake"], 2, "fake"),
        "unknown command": (["bake"], 2, "bake"),
    }  # fmt: skip


NAMES = ["missing folder", "a file as folder", "one class", "empty class", "unreadable photo", "unknown backbone",
         "weights that are none", "size 0", "size 10000", "no number", "no run", "missing run", "nothing to resume",
         "unknown command"]  # fmt: skip


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return make_cases(tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("name", NAMES)
def test_wrong_calls(foodvision, cases, tmp_path, name):
    words, code, says = cases[name]
    where = ["--run", tmp_path / "run"] if words[0] == "train" and "--resume" not in words else []
    done = foodvision(*words, *where, cwd=tmp_path)
    said = [
        line
        for line in done.stderr.replace("\r", "\n").splitlines()
        if line.startswith("foodvision")
    ]
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and len(said) == 1 and says in said[0], done.stderr
    assert not list(tmp_path.iterdir()), "something was left behind"


def test_an_existing_run_is_safe(trained, foodvision, photos):
    folder, _ = trained
    before = (folder / "model.keras").read_bytes()
    done = foodvision("train", "--data", photos, "--run", folder, *SMALL)
    assert done.returncode == 2 and "holds a run already" in done.stderr
    assert (folder / "model.keras").read_bytes() == before


def test_data_is_where_the_call_says(trained, foodvision, photos, tmp_path):
    here = draw(tmp_path / "sample", 4)
    (here / "no.weights.h5").write_bytes(b"no weights")
    done = foodvision("train", "--data", ".", *SMALL, "--weights", "no.weights.h5", cwd=here)
    assert done.returncode == 1 and "among the photos, where it is passed over" in done.stdout
    done = foodvision("train", "--data", "sample", "--image-size", "0", cwd=tmp_path)
    assert "the folder here is ./sample" in done.stderr
    moved = ["--data", tmp_path / "moved", "--no-evaluate"]
    assert foodvision("train", "--resume", trained[0], *moved).returncode == 0  # it is complete
    done = foodvision("train", "--resume", trained[0], *moved, "--seed", "1")
    assert done.returncode == 2 and "leave out: seed" in done.stderr


def test_overwriting_takes_a_run_and_nothing_else(trained, foodvision, photos, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "run")
    (folder / "notes.txt").write_text("mine"), (folder / "report" / "notes.txt").write_text("mine")
    Run.create(folder, Config(), overwrite=True)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == ["config.json", "notes.txt", "report/notes.txt"]
    (folder / "config.json").write_text('{"model_type": "bert"}')
    done = foodvision("train", "--data", photos, "--run", folder, "--overwrite", *SMALL)
    assert done.returncode == 2 and "holds other files than a run's" in done.stderr
    assert left == sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def test_an_option_wins_over_the_file_even_with_its_default(foodvision, photos, tmp_path):
    (tmp_path / "recipe.json").write_text(
        json.dumps({"data": str(photos), "image_size": 64, "fine_tune_epochs": 0})
    )
    done = foodvision(
        "train",
        "--recipe",
        tmp_path / "recipe.json",
        "--image-size",
        224,
        "--run",
        tmp_path / "recipe.json",
    )
    assert done.returncode == 2 and "is a file; a run needs a folder" in done.stderr
    assert f"on {photos} at 224 pixels" in done.stdout


def test_food101_without_a_network_asks_once(offline, tmp_path):
    "TFDS by itself retries for minutes; a proxy that answers nobody counts the requests"
    asked = []

    def hang_up(proxy):
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                connection, address = proxy.accept()
                connection.close()
                asked.append(address)

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        Thread(target=hang_up, args=[proxy], daemon=True).start()
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), address)
        own = dict(TFDS_DATA_DIR=str(tmp_path / "tfds"), HOME=str(tmp_path))
        words = ["train", "--data", "food101", "--run", tmp_path / "run", *SMALL]
        done = run("foodvision", *words, cold=True, **{**offline, **proxies, **own})
    assert done.returncode == 1, done.stderr
    assert (
        "food-101.tar.gz" in done.stderr
        and "sample" in done.stderr
        and "Traceback" not in done.stderr
    )
    assert len(asked) == 1, asked
    assert not os.path.exists(tmp_path / "run")
