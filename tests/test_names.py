"Classes and photos with every kind of name, through training, reports, predictions, exports, the app and the web page"

import csv
import io
import json
import os
import shutil
import warnings
import zipfile
from contextlib import redirect_stdout
from html.parser import HTMLParser

import chromium
import numpy as np
import pytest
from conftest import run, succeed
from PIL import Image
from test_system import ASCII
from test_web import FLAGS, served, wait

from foodvision.app import answer_photo, build_app
from foodvision.callbacks import read_tensorboard
from foodvision.cli import main
from foodvision.data import load_folder
from foodvision.exported import exported_classifier, read_metadata
from foodvision.inference import Classifier
from foodvision.label_issues import drop_label_issues
from foodvision.names import displayed, from_cell
from foodvision.run import Run

NAMES = ["$5_or_$10", r"x$\frac$", "50%", "a,b;c", "🍕", "n" * 200, "בורקס", os.fsdecode(b"caf\xe9"), "-dash", "=1+1",
         "@sum", "<script>owned=1", "'\"><img src=x onerror=owned=1>"]  # fmt: skip
SHOWN = [r"caf\xe9" if name.startswith("caf") else name for name in NAMES]
FILES = ["=cmd|' C calc'!A0", os.fsdecode(b"\xff"), "two\nlines", "y" * 240, "-5", "+6", "7", "8"]


def draw(kind, number):
    "A photo in the colour of its class, with some noise"
    colour, random = (
        np.random.default_rng(kind).integers(0, 256, 3),
        np.random.default_rng([kind, number]),
    )
    pixels = (colour + random.normal(0, 25, (8, 8, 3))).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((48, 48))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    "A folder whose own name is no UTF-8, with a folder for each class, a hidden one, and a copy of a photo in each"
    root = tmp_path_factory.mktemp("names") / os.fsdecode(b"photos-\xe9")
    for kind, name in enumerate([*NAMES, ".hidden"]):
        (root / name).mkdir(parents=True)
        for number, stem in enumerate(FILES):
            draw(kind, number).save(root / name / f"{stem}.png")
        shutil.copy(root / name / "7.png", root / name / "=copy.png")
    return root


@pytest.fixture(scope="module")
def foodvision(offline):
    "A function that runs `foodvision` with some words and gives what it printed; it must end well"

    def call(*words, code=0):
        done = run("foodvision", *words, **offline)
        assert done.returncode == code, (
            f"{ascii(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        faults = [
            line
            for line in done.stderr.splitlines()
            if "Traceback" in line or "Warning" in line or "Glyph" in line
        ]
        assert not faults, faults[:3]
        return done.stdout

    return call


@pytest.fixture(scope="module")
def trained(photos, foodvision):
    "A run of both stages on these photos, measured"
    import keras

    pixels = keras.Input((32, 32, 3), dtype="uint8")
    features = keras.layers.Conv2D(8, 3, strides=4)(keras.layers.Rescaling(1 / 255)(pixels))
    keras.Model(pixels, features).save(photos.parent / "tiny.keras")
    settings = [
        "--backbone",
        photos.parent / "tiny.keras",
        "--image-size",
        32,
        "--feature-epochs",
        5,
        "--fine-tune-epochs",
        1,
    ]
    said = foodvision(
        "train", "--data", photos, "--run", photos.parent / "run", "--no-tune-head", *settings
    )
    assert "Note: Skipped: 1 hidden." in said
    return photos.parent / "run"


@pytest.fixture(scope="module")
def classifier(trained):
    return Classifier.load(trained)


class Tags(HTMLParser):
    "What a page would run: its scripts, and the attributes that begin with `on`"

    def __init__(self, page):
        super().__init__()
        self.live, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.live += [tag] * (tag == "script") + [
            name for name, _ in attributes if name.startswith("on")
        ]

    def handle_data(self, text):
        self.text.append(text)


def check_page(page, names=SHOWN):
    "No name of a class has become markup, and all are there to read"
    tags = Tags(page)
    assert not tags.live
    read = " ".join(tags.text)
    assert not [name for name in names if name.replace("_", " ") not in read and name not in read]


def read_table(text):
    "The rows of a table whose cells no spreadsheet takes for a formula"
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert rows and not [
        cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t\r\n")
    ]
    return [{name: from_cell(cell) for name, cell in row.items()} for row in rows]


def test_training_ends_and_a_finished_run_is_taken_up_again(trained, photos, foodvision):
    opened = Run.open(trained)
    assert (
        set(opened.class_names) == set(SHOWN)
        and opened.info["complete"]
        and opened.config.data == str(photos)
    )
    assert [
        size
        for _, tag, _, size in read_tensorboard(trained / "tensorboard")
        if tag == "confusion_matrix"
    ][0] > 1000
    assert f"Run: {trained}" in foodvision("train", "--resume", trained, "--no-evaluate")
    assert r"photos-\xe9: " in foodvision("info", trained)


LOAD = """
import sys
from foodvision.food101 import load_data
for source in sys.argv[1:]:
    data = load_data(source)
    photos = [sorted(split.names.tolist()) for split in data.splits.values()]
    print(ascii([data.class_names, photos, data.fingerprint()]))
"""


def test_names_are_the_same_in_every_locale(tmp_path):
    "Of classes and photos, whose bytes are UTF-8 or are not, from a folder and from a table"
    menu = {os.fsdecode(name): kind for kind, name in enumerate([b"cr\xc3\xa8me", b"caf\xe9"])}
    for name, kind in menu.items():
        (tmp_path / "menu" / name).mkdir(parents=True)
        for number in range(4):
            draw(kind, number).save(tmp_path / "menu" / name / f"{name}-{number}.png")
    rows = [f"crème/crème-{number}.png,{'ab'[number % 2]}" for number in range(4)]
    shutil.copytree(tmp_path / "menu" / "crème", tmp_path / "menu" / "crème" / ".more")
    rows += [row.replace("/", "/.more/") for row in rows]
    (tmp_path / "menu" / "labels.csv").write_text("\n".join(["path,label", *rows]))
    locales = [{"LC_ALL": "C.UTF-8"}, ASCII]
    if shutil.which("localedef"):
        run("localedef", "-c", "-i", "C", "-f", "ISO-8859-1", tmp_path / "latin")
        locales.append({**ASCII, "LC_ALL": "latin", "LOCPATH": str(tmp_path)})
    sources = tmp_path / "menu", tmp_path / "menu" / "labels.csv"
    [said, *others] = [succeed("python", "-c", LOAD, *sources, **names).stdout for names in locales]
    assert set(others) == {said}
    assert said.startswith(ascii([(r"caf\xe9", "crème")])[:-1])


def test_the_report_shows_the_names(trained):
    check_page((trained / "report" / "report.html").read_text(encoding="utf-8"))
    rows = read_table((trained / "report" / "predictions.csv").read_text(encoding="utf-8-sig"))
    assert {row["true"] for row in rows} == set(SHOWN) and len(rows) == 2 * len(NAMES)
    for path in (trained / "report" / "report.md", trained / "README.md"):
        text = path.read_text(encoding="utf-8")
        # the report shows a class name with spaces, the model card as it is
        name = r"\$5 or \$10" if path.name == "report.md" else r"\$5\_or\_\$10"
        assert name in text
        assert r"caf\\xe9" in text and r"\<script\>owned=1" in text
    assert Image.open(trained / "report" / "confusion.png").height > 300


def test_the_data_is_checked(photos, foodvision, tmp_path):
    assert r"caf\xe9/=copy.png" in foodvision("check-data", photos, "--out", tmp_path, code=1)
    rows = read_table((tmp_path / "findings.csv").read_text(encoding="utf-8-sig"))
    assert {row["class_name"] for row in rows if row["kind"].endswith("duplicate")} == set(SHOWN)


def test_an_audit_is_read_back(trained, photos, foodvision):
    pytest.importorskip("cleanlab")
    foodvision("audit", trained)
    text = (trained / "audit" / "audit.csv").read_text(encoding="utf-8-sig")
    rows, data = read_table(text), load_folder(photos)
    check_page(
        (trained / "audit" / "audit.html").read_text(encoding="utf-8"),
        {row["label"] for row in rows},
    )
    assert {"=1+1", "@sum", "-dash", r"caf\xe9", "a,b;c"} <= {row["label"] for row in rows}
    assert "'=1+1" in text and any(row["file"].startswith("=1+1/") for row in rows)
    left = drop_label_issues(data, trained / "audit" / "audit.csv").train
    proposed = {row["file"] for row in rows if row["keep"] == ""} & set(data.train.names)
    assert proposed and set(left.names) == set(data.train.names) - proposed


def test_answers_are_printed(trained, photos, tmp_path):
    "As a table, as JSON and as CSV, to a terminal that takes every letter and to one that does not"
    odd = [photos / name for name in (os.fsdecode(b"caf\xe9"), "🍕")]
    names = {displayed(photo) for folder in odd for photo in folder.iterdir()}

    def predict(*options, encoding="utf-8"):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # strict, as most terminals are
        with redirect_stdout(out):
            assert (
                main(["predict", str(trained), *map(str, odd), "--top", str(len(NAMES)), *options])
                == 0
            )
        out.flush()
        return out.buffer.getvalue().decode(encoding)

    lines = predict().splitlines()
    assert len(lines) == len(names) and all(
        any(line.startswith(f"{name}: ") for line in lines) for name in names
    )
    rows = read_table(predict("--csv", "--explain", str(tmp_path)))
    assert {row["name"] for row in rows} == names and {
        rows[0][f"class_{k + 1}"] for k in range(len(NAMES))
    } == set(SHOWN)
    assert len(list(tmp_path.iterdir())) == len(names)
    for encoding in ("utf-8", "latin-1"):
        answers = [json.loads(line) for line in predict("--json", encoding=encoding).splitlines()]
        assert {answer["name"] for answer in answers} == names
        assert {one["class"] for one in answers[0]["ranked"]} == set(SHOWN)
    assert r"\U0001f355" in predict(encoding="latin-1")


def test_every_export_has_the_names(trained, photos, foodvision, classifier):
    [expected] = classifier.predict(photos / "🍕" / "7.png", top=1)
    for format, file in (
        ("litert", "litert.tflite"),
        ("onnx", "onnx.onnx"),
        ("savedmodel", "savedmodel"),
    ):
        foodvision("export", trained, "--format", format)
        path = trained / "exports" / file
        assert read_metadata(path)["class_names"] == classifier.class_names
        assert (
            exported_classifier(path).predict(photos / "🍕" / "7.png", top=1)[0].best
            == expected.best
        )
    with zipfile.ZipFile(trained / "exports" / "litert.tflite") as archive:
        assert archive.read("labels.txt").decode().splitlines() == classifier.class_names
    for format in ("hub", "compact"):
        foodvision("export", trained, "--format", format)
        assert Run.open(trained / "exports" / format).class_names == classifier.class_names
        assert r"\$5\_or\_\$10" in (trained / "exports" / format / "README.md").read_text(
            encoding="utf-8"
        )
    assert Classifier.load(trained / "exports" / "compact").predict(photos / "🍕" / "7.png")


def test_the_app_shows_the_names(classifier, photos):
    pytest.importorskip("gradio")
    photo = photos / os.fsdecode(b"caf\xe9") / f"{FILES[1]}.png"
    check_page(answer_photo(classifier, photo, top=len(NAMES)))
    assert (
        "owned" not in Tags(answer_photo(classifier, photo.with_name("<script>owned=1.png"))).live
    )
    page = json.loads(json.dumps(build_app(classifier).get_config_file(), default=str))
    [knows] = [
        part["props"]["value"]
        for part in page["components"]
        if "Knows" in str(part["props"].get("value"))
    ]
    check_page(knows, classifier.class_names[:12])


def test_the_web_page_shows_the_names(trained, photos, foodvision, classifier):
    if not (trained / "exports" / "compact").exists():
        foodvision("export", trained, "--format", "compact")
    out = trained.parent / "page"
    foodvision(
        "export", trained / "exports" / "compact", "--format", "web", "--out", out
    )  # the compact model is made once
    assert (
        json.loads((out / "facts.json").read_text(encoding="utf-8"))["classes"]
        == classifier.class_names
    )
    if not chromium.find():
        pytest.skip(
            "no Chromium on this machine: `apt-get install chromium`, or run `make test` as root on Debian"
        )
    from playwright.sync_api import sync_playwright

    [expected] = classifier.predict(photos / "🍕" / "7.png")
    with sync_playwright() as play, served(out) as address:
        browser = play.chromium.launch(
            executable_path=chromium.find(), args=[*FLAGS, "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(address)
        wait(page, "ready")
        assert classifier.class_names[0].replace("_", " ") in page.locator("header").inner_text()
        photo = {
            "name": "7.png",
            "mimeType": "image/png",
            "buffer": (photos / "🍕" / "7.png").read_bytes(),
        }
        page.locator("#file").set_input_files(photo)
        wait(page, "answered")
        rows = [line.split("\n")[0] for line in page.locator("#answer li").all_inner_texts()]
        assert rows == [name.replace("_", " ") for name, _ in expected.ranked]
        assert page.evaluate("typeof owned") == "undefined"
        for path in (trained / "report" / "report.html", trained / "audit" / "audit.html"):
            if path.exists():
                page.goto(path.as_uri())
                assert page.evaluate("[document.scripts.length, typeof owned]") == [0, "undefined"]
        browser.close()


def test_names_that_cannot_be_are_one_line(photos, tmp_path, capsys):
    shutil.copytree(photos / "50%", tmp_path / "photos" / "two\nlines")
    shutil.copytree(photos / "50%", tmp_path / "photos" / "other")
    for words, said in [
        (["train", "--data", str(tmp_path / "photos"), "--run", str(tmp_path / "run")], r"two\nlines has a line break in it"),
        (["train", "--data", str(photos), "--run", str(tmp_path / os.fsdecode(b"\xff"))], r"\xff is not valid UTF-8"),
        (["predict", str(tmp_path / "no\nrun"), "photo.jpg"], r"No run folder at"),
    ]:  # fmt: skip
        assert main(words) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error


def test_the_plots_of_any_predictions():
    "Many classes are drawn in another way than few; both take all names, without a warning"
    from foodvision.callbacks import draw_confusions, to_pixels
    from foodvision.metrics import Predictions, plot_confusion

    for names in (SHOWN, [*SHOWN, *map(str, range(20))]):
        count = len(names)
        said = Predictions(
            np.arange(count).astype(str),
            np.arange(count),
            np.eye(count, dtype="float32"),
            tuple(names),
        )
        with warnings.catch_warnings(action="error", category=UserWarning):
            plot_confusion(said).figure.savefig(io.BytesIO(), format="png")
            to_pixels(draw_confusions(np.eye(count), names))
