"The classifier that comes with the package: no training, no network, no TensorFlow"

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from foodvision.drawing import draw_dish
from foodvision.inference import Classifier
from foodvision.predictor import LiteRTPredictor
from foodvision.preprocessing import decode_image


@pytest.fixture
def photo(tmp_path) -> Path:
    draw_dish("pizza", 3, (800, 600)).save(tmp_path / "lunch.jpg", quality=90)
    return tmp_path / "lunch.jpg"


def test_answers_without_tensorflow_and_with_few_imports(photo):
    "Half a second on two quiet cores; how long it takes depends on the machine, what it imports does not"
    code = (
        "import sys; from foodvision.cli import main; code = main(['predict', 'food101', sys.argv[1]]);"
        "print(code, len(sys.modules), *{name.split('.')[0] for name in sys.modules})"
    )
    words = [sys.executable, "-c", code, str(photo)]
    done = subprocess.run(words, capture_output=True, text=True)
    exit_code, count, *imported = done.stdout.splitlines()[-1].split()
    assert exit_code == "0" and int(count) < 550, done.stdout + done.stderr  # today 432
    heavy = "tensorflow keras sklearn scipy pandas matplotlib gradio tensorflow_datasets"
    assert not set(heavy.split()) & set(imported)


def test_every_way_to_ask(foodvision, photo, tmp_path):
    done = foodvision("predict", "food101", photo, "--json", "--explain", "why", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert len(answer["ranked"]) == 3 and answer["sure"] in (True, False)
    assert Image.open(tmp_path / "why" / "lunch-heat-map.png").size == (800, 600)
    assert foodvision("predict", "food101", photo, "--csv", cwd=tmp_path).stdout.startswith(
        "name,sure,reason,class_1"
    )
    said = foodvision("info", "food101", cwd=tmp_path).stdout
    assert "64x64 pixels (median), scaled to 128" in said and "63.9% top-1 on 12,622 photos" in said


def test_photos_of_any_size_give_what_their_small_version_gives(tmp_path):
    classifier = Classifier.load("food101")
    large = draw_dish("sushi", 11, (1600, 1100))
    small = Image.fromarray(decode_image(large, 64, fit="crop"))
    first, second = classifier.predict([large, small], top=101)
    assert dict(first.ranked) == pytest.approx(dict(second.ranked), abs=1e-6)
    # From a JPEG file, whose decoder rounds in its own way, nearly the same
    large.save(tmp_path / "large.jpg", quality=95)
    third = classifier.predict(tmp_path / "large.jpg", top=101)[0]
    assert max(abs(dict(third.ranked)[name] - chance) for name, chance in first.ranked) < 0.1
    # And enlarging without that step would have given something else
    plain = np.asarray(large.resize((128, 128)).resize((64, 64), Image.Resampling.NEAREST))
    assert (
        abs(
            LiteRTPredictor("food101")(plain[None])[0]
            - LiteRTPredictor("food101")(np.asarray(small)[None])[0]
        ).max()
        > 0.5
    )


@pytest.mark.skipif(
    "FOODVISION_PHOTOS" not in os.environ, reason="FOODVISION_PHOTOS names no folder"
)
def test_full_size_photos():
    "Of photos at their full size about as many are right as of the small ones it was measured on"
    folder = Path(os.environ["FOODVISION_PHOTOS"]) / "food-101"
    official = json.loads((folder / "meta" / "test.json").read_text())
    paths = [
        path
        for names in official.values()
        for name in names
        if (path := folder / "images" / f"{name}.jpg").exists()
    ]
    if not paths:
        pytest.skip("no test photos there")
    right = [
        given.best == path.parent.name
        for given, path in zip(Classifier.load("food101").predict(paths), paths)
    ]
    assert np.mean(right) > 0.45, np.mean(right)


@pytest.mark.parametrize("name", ["model.tflite", "class_features.npz", "history.json"])
def test_a_damaged_file_is_one_clear_line(name, foodvision, photo, tmp_path):
    copy = Path(
        shutil.copytree(ROOT / "foodvision" / "pretrained" / "food101", tmp_path / "food101")
    )
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (copy / name).write_bytes(data)
    done = foodvision("predict", "./food101", photo, cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert (
        name in done.stderr and "is damaged" in done.stderr and len(done.stderr.splitlines()) == 1
    )


def test_a_folder_of_the_same_name(foodvision, photo, tmp_path):
    shutil.copytree(ROOT / "foodvision" / "pretrained" / "food101", tmp_path / "food101")
    done = foodvision("predict", "food101", photo, cwd=tmp_path)
    assert done.returncode == 0 and "the folder here is ./food101" in done.stderr
    done = foodvision("predict", "./food101", photo, cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    done = foodvision("train", "--run", "food101", "--data", "sample", cwd=tmp_path)
    assert done.returncode == 2 and "Choose another name" in done.stderr


def test_measured_by_its_own_file(foodvision, tmp_path):
    for part in ("train", "test"):
        for name in ("pizza", "sushi"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for number in range(4):
                draw_dish(name, number, (200, 150)).save(
                    tmp_path / "photos" / part / name / f"{number}.jpg"
                )
    done = foodvision("evaluate", "food101", "--data", "photos", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [report] = tmp_path.glob("food101-reports/*/report.md")
    assert "the centre square of a photo at 64 pixels" in report.read_text()
    assert foodvision("evaluate", "food101", cwd=tmp_path).returncode == 2
    assert foodvision("export", "food101", cwd=tmp_path).returncode == 2
