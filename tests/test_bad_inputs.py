"Every kind of broken or odd photo: what loading, training, check_data and predict do with each"

import contextlib
import csv
import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from foodvision.check import check_data
from foodvision.data import load_folder
from foodvision.drawing import draw_dish
from foodvision.errors import UserError
from foodvision.names import displayed
from foodvision.preprocessing import BadImage, decode_image
from foodvision.run import Config, Run

pytestmark = [
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings("ignore:Corrupt EXIF data"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of Keras
]
SIZE = 32


def saved(image, format, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


DISH = draw_dish("pizza", 1, (160, 120))
JPEG, PROGRESSIVE = saved(DISH, "JPEG"), saved(DISH, "JPEG", progressive=True)
PNG, GIF, WEBP, BMP = (saved(DISH, format) for format in ("PNG", "GIF", "WEBP", "BMP"))
FRAMES = [draw_dish("sushi", seed, (160, 120)) for seed in (1, 2)]


@dataclass
class Case:
    "One input, and what each way in is expected to make of it"

    name: str  # of the file
    content: bytes  # of the file
    error: str = ""  # a part of the reason; nothing where the photo is to be decoded
    kinds: set = field(default_factory=set)  # what check_data says
    looks: Image.Image | None = None  # the picture that must come out, within a few levels


CASES = {}


def case(title, name, content, error="", kinds=(), looks=None):
    assert title not in CASES
    CASES[title] = Case(
        name, content, error, {kinds} if isinstance(kinds, str) else set(kinds), looks
    )


def png_part(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_part(b"IHDR", header)
        + png_part(b"IDAT", zlib.compress(b""))
        + png_part(b"IEND", b"")
    )


def jpeg_claiming(width, height):
    "The JPEG with other numbers in its frame header"
    place = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:place] + struct.pack(">HH", height, width) + JPEG[place + 4 :]


def with_orientation(number):
    notes = Image.Exif()
    notes[0x0112] = number
    return saved(DISH, "JPEG", exif=notes, quality=95)


# Cut off: at the very start no format shows, later the picture ends before its time.
STARTS = {
    1: "none of JPEG",
    2: "none of JPEG",
    3: "header is damaged",
    10: "cut off",
    300: "cut off",
}
for offset, reason in STARTS.items():
    case(
        f"JPEG cut to {offset} bytes",
        "cut.jpg",
        JPEG[:offset],
        reason,
        "unreadable" if offset == 1 else "truncated",
    )
for percent in (25, 50, 75, 90, 99):
    case(
        f"JPEG cut at {percent} %",
        "cut.jpg",
        JPEG[: len(JPEG) * percent // 100],
        "cut off",
        "truncated",
    )
for missing in (1, 2):
    case(f"JPEG without its last {missing}", "cut.jpg", JPEG[:-missing], "cut off", "truncated")
for percent in (30, 60, 95):
    case(
        f"progressive JPEG cut at {percent} %",
        "cut.jpg",
        PROGRESSIVE[: len(PROGRESSIVE) * percent // 100],
        "cut off",
        "truncated",
    )
for kind, whole in {"png": PNG, "gif": GIF, "webp": WEBP, "bmp": BMP}.items():
    for percent in (5, 50, 98):
        case(
            f"{kind} cut at {percent} %",
            f"cut.{kind}",
            whole[: len(whole) * percent // 100],
            "cut off",
            "truncated",
        )

# No photo at all.
case("zero-length file", "empty.jpg", b"", "the file is empty", "unreadable")
case("zero bytes", "zeros.jpg", bytes(5000), "none of JPEG", "unreadable")
case("random bytes", "noise.jpg", random.Random(0).randbytes(5000), "none of JPEG", "unreadable")
case(
    "HTML",
    "page.jpg",
    b"<!doctype html><html><title>404</title></html>",
    "text that begins with",
    "unreadable",
)
case("text", "note.png", "Grüße aus der Küche".encode(), "none of JPEG", "unreadable")
case(
    "SVG",
    "drawing.png",
    b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "text that begins with",
    "unreadable",
)
case("PDF", "menu.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(200), "none of JPEG", "unreadable")
case("HEIC header", "phone.jpg", b"\0\0\0\x18ftypheic" + bytes(2000), "damaged or", "unreadable")
case("zip", "photos.jpg", b"PK\x03\x04" + bytes(200), "none of JPEG", "unreadable")
case(
    "JPEG start, then zeros", "start.jpg", JPEG[:4] + bytes(3000), "damaged or cut off", "truncated"
)
case("garbage before a JPEG", "late.jpg", b"garbage " + JPEG, "none of JPEG", "unreadable")
case(
    "PNG with a flipped bit",
    "flipped.png",
    PNG[: len(PNG) // 2] + bytes([PNG[len(PNG) // 2] ^ 1]) + PNG[len(PNG) // 2 + 1 :],
    "damaged",
    "unreadable",
)

# Claims that must not be believed.
case("30,000 x 30,000 PNG header", "bomb.png", png_claiming(30_000, 30_000), "megapixels", "huge")
case("30,000 x 30,000 JPEG header", "bomb.jpg", jpeg_claiming(30_000, 30_000), "megapixels", "huge")
case(
    "30,000 x 30,000 GIF header",
    "bomb.gif",
    GIF[:6] + struct.pack("<HH", 30_000, 30_000) + GIF[10:],
    "megapixels",
    "huge",
)
case(
    "30,000 x 30,000 BMP header",
    "bomb.bmp",
    BMP[:18] + struct.pack("<II", 30_000, 30_000) + BMP[26:],
    "megapixels",
    "huge",
)
case(
    "9,500 x 9,500 PNG header",
    "large.png",
    png_claiming(9_500, 9_500),
    "9500 x 9500 is over 89 megapixels",
    "huge",
)
case(
    "144 megapixel JPEG header",
    "large.jpg",
    jpeg_claiming(12_000, 12_000),
    "12000 x 12000 is over 134 megapixels",
    "huge",
)
case("0 x 10 PNG header", "flat.png", png_claiming(0, 10), "header is damaged", "unreadable")
case(
    "JPEG header claims twice the height", "tall.jpg", jpeg_claiming(160, 240)
)  # a limit: the rest comes out grey
case(
    "PNG with 100 MB of notes in 100 kB",
    "notes.png",
    PNG[:33] + png_part(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**8), 9)) + PNG[33:],
    "too large",
    "unreadable",
)

# Odd and sound.
GREY = DISH.convert("L")
case("CMYK JPEG", "print.jpg", saved(DISH.convert("CMYK"), "JPEG", quality=95), looks=DISH)
case("grey JPEG", "grey.jpg", saved(GREY, "JPEG", quality=95), looks=GREY)
case(
    "progressive JPEG",
    "progressive.jpg",
    saved(DISH, "JPEG", progressive=True, quality=95),
    looks=DISH,
)
case(
    "16-bit PNG",
    "deep.png",
    saved(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257), "PNG"),
    looks=GREY,
)
case("1-bit PNG", "bits.png", saved(DISH.convert("1"), "PNG"), looks=DISH.convert("1"))
case("palette PNG", "palette.png", saved(DISH.convert("P"), "PNG"), looks=DISH.convert("P"))
PALETTE = DISH.convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
case(
    "palette PNG with alpha",
    "clear.png",
    saved(PALETTE, "PNG", transparency=bytes(64)),
    kinds="single-colour",
    looks=Image.new("RGB", DISH.size, "white"),
)
HALF = DISH.copy()
HALF.putalpha(128)
case(
    "half transparent PNG",
    "half.png",
    saved(HALF, "PNG"),
    looks=Image.blend(Image.new("RGB", DISH.size, "white"), DISH, 0.5),
)
case("grey PNG with alpha", "grey.png", saved(HALF.convert("LA"), "PNG"))
case("WebP with alpha", "half.webp", saved(HALF, "WEBP", lossless=True))
for format in ("GIF", "WEBP", "PNG"):
    moving = saved(FRAMES[0], format, save_all=True, append_images=FRAMES[1:])
    case(f"animated {format}", f"moving.{format.lower()}", moving, looks=FRAMES[0])
case("palette BMP", "palette.bmp", saved(PALETTE, "BMP"), looks=PALETTE)
for number in range(1, 9):
    case(
        f"EXIF orientation {number}",
        "turned.jpg",
        with_orientation(number),
        looks=ImageOps.exif_transpose(Image.open(io.BytesIO(with_orientation(number)))),
    )
case("EXIF orientation 9", "turned.jpg", with_orientation(9), looks=DISH)
case(
    "damaged EXIF",
    "notes.jpg",
    JPEG[:2] + b"\xff\xe1\x00\x20Exif\0\0II*\0\xff\xff\xff\xff" + bytes(16) + JPEG[2:],
    looks=DISH,
)
case("JPEG with trailing garbage", "tail.jpg", JPEG + b"garbage" * 500, looks=DISH)
case("two JPEGs in one file", "double.jpg", JPEG + saved(FRAMES[0], "JPEG"), looks=DISH)
case(
    "several pictures in one JPEG (MPO)",
    "stereo.jpg",
    saved(DISH, "MPO", save_all=True, append_images=FRAMES),
    looks=DISH,
)
case(
    "1 x 1",
    "dot.png",
    saved(Image.new("RGB", (1, 1), "red"), "PNG"),
    kinds=("tiny", "single-colour"),
    looks=Image.new("RGB", (1, 1), "red"),
)
case("1 x 5000", "line.png", saved(DISH.resize((1, 5000)), "PNG"), kinds="tiny")
case("5000 x 1 JPEG", "line.jpg", saved(DISH.resize((5000, 1)), "JPEG"), kinds="tiny")
case("31 x 200", "narrow.jpg", saved(DISH.resize((31, 200)), "JPEG"), kinds="tiny")
case(
    "single colour",
    "lens cap.jpg",
    saved(Image.new("RGB", (200, 100), (9, 8, 8)), "JPEG"),
    kinds="single-colour",
)

# What scanners and phones write besides.
DEEP = np.asarray(DISH).astype(">u2") * 257
ROWS = b"".join(b"\0" + row.tobytes() for row in DEEP)
case(
    "16-bit PNG in colour",
    "deep colour.png",
    PNG[:8]
    + png_part(b"IHDR", struct.pack(">IIBBBBB", *DISH.size, 16, 2, 0, 0, 0))
    + png_part(b"IDAT", zlib.compress(ROWS))
    + png_part(b"IEND", b""),
    looks=DISH,
)
case("TIFF", "scan.tif", saved(DISH, "TIFF", compression="tiff_lzw"), looks=DISH)
SCAN = saved(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257), "TIFF")
case("16-bit TIFF", "scan.tiff", SCAN, looks=GREY)
case("TIFF cut at 50 %", "cut.tif", SCAN[: len(SCAN) // 2], "cut off", "unreadable")
if features.check("avif"):  # Pillow 11.3
    AVIF = saved(DISH, "AVIF", quality=90)
    case("AVIF", "phone.avif", AVIF, looks=DISH)
    case("AVIF cut at 50 %", "cut.avif", AVIF[: len(AVIF) // 2], "cut off", "unreadable")
HEIC_FILE = io.BytesIO()
pillow_heif.from_pillow(DISH).save(HEIC_FILE, quality=90)
HEIC = HEIC_FILE.getvalue()
case("HEIC", "phone.heic", HEIC, looks=DISH)
case("HEIC cut at 50 %", "cut.heic", HEIC[: len(HEIC) // 2], "cut off", "unreadable")

# Names.
case("HEIC named .jpg", "phone 2.jpg", HEIC, kinds="mislabelled", looks=DISH)
case("PNG named .jpg", "really.jpg", PNG, kinds="mislabelled", looks=DISH)
case("JPEG named .png", "really.png", JPEG, kinds="mislabelled", looks=DISH)
case("TIFF named .jpg", "scan.jpg", saved(DISH, "TIFF"), kinds="mislabelled", looks=DISH)
for name in ("Käse 寿司 🍕.jpg", "two  spaces .jpg", "-dash.jpg", "$a$_'q\"&<b>%s{x}.jpg", "new\nline.jpg", "LOUD.JPG",
             "x" * 240 + ".jpg", "many.dots.tar.jpeg", os.fsdecode(b"latin-\xe9.jpg")):  # fmt: skip
    case(f"name {ascii(name[:30])}", name, JPEG, looks=DISH)


def make_folder(root):
    "The smallest folder that can be learnt from"
    for part, count in {"train": 2, "test": 1}.items():
        for class_name in ("pizza", "sushi"):
            (root / part / class_name).mkdir(parents=True)
            for seed in range(count):
                place = root / part / class_name / f"{seed}.jpg"
                draw_dish(class_name, seed + (part == "test") * 100, (64, 48)).save(place)
    return root / "train" / "pizza"


def findings_of(data, name):
    "Kinds of what check_data finds about one photo; nothing may be wrong with the others"
    found = check_data(data, progress=False)
    assert {finding.name for finding in found} <= {name}
    return {finding.kind for finding in found}


def split_with(data, name):
    return next(split for split in data.splits.values() if name in split.names)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    "A run with an untrained classifier: its answers do not matter here"
    import keras

    from foodvision.model import build_model, save_model

    place = tmp_path_factory.mktemp("run")
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(4, 3, strides=2)(image)).save(place / "backbone.keras")
    run = Run.create(
        place / "run", Config(backbone="none", image_size=SIZE), class_names=["pizza", "sushi"]
    )
    save_model(build_model(place / "backbone.keras", 2, SIZE, "none"), run.model_path)
    run.record(complete=True)
    return run.path


@pytest.fixture(scope="module")
def classifier(run_folder):
    from foodvision.inference import Classifier

    return Classifier.load(run_folder)


@pytest.mark.parametrize("title", CASES)
def test_input(title, tmp_path, classifier):
    from foodvision.pipeline import decode_split

    case = CASES[title]
    path = make_folder(tmp_path / "photos") / case.name
    path.write_bytes(case.content)
    data = load_folder(tmp_path / "photos")
    name = f"train/pizza/{displayed(case.name)}"
    split = split_with(data, name)
    assert findings_of(data, name) == case.kinds
    errors = []
    answers = classifier.predict(path, errors=errors)
    if case.error:
        for read in (lambda: decode_image(path, SIZE), lambda: decode_image(path)):
            with pytest.raises(BadImage) as caught:
                read()
            assert (
                caught.value.exit_code == 1
                and caught.value.name == str(path)
                and case.error in caught.value.reason
            )
            assert "\n" not in caught.value.reason
        assert [error.name for error in errors] == [displayed(path)] and not answers
        with pytest.raises(BadImage) as caught:
            decode_split(split, SIZE, progress=False)
        assert caught.value.name == name and case.error in caught.value.reason
        if set(split.labels[split.names != name]) == set(split.labels):
            kept = decode_split(split, SIZE, on_bad_image="skip", progress=False)
            assert [bad["name"] for bad in kept.bad] == [name] and len(kept) == len(split) - 1
            assert (
                name not in kept.split.names and kept.images.reshape(len(kept), -1).any(1).all()
            )  # none is black
        else:
            with pytest.raises(UserError, match="No readable photo is left"):
                decode_split(split, SIZE, on_bad_image="skip", progress=False)
        return
    pixels = decode_image(path, SIZE)
    assert not errors and len(answers) == 1 and abs(sum(p for _, p in answers[0].ranked) - 1) < 1e-5
    decoded = decode_split(split, SIZE, progress=False)
    assert not decoded.bad
    assert np.array_equal(
        decoded.images[list(split.names).index(name)], pixels
    )  # training sees what predict sees
    if case.looks is not None:
        expected = decode_image(case.looks.convert("RGB"), SIZE)
        assert np.abs(pixels.astype(int) - expected).mean() < 4
        assert decode_image(path).shape == (*case.looks.size[::-1], 3)


def test_there_are_enough_and_of_both_sorts():
    broken = [case for case in CASES.values() if case.error]
    assert len(broken) >= 40 and len(CASES) - len(broken) >= 40


def make_link_loop(path):
    path.symlink_to(path.name)


def make_broken_link(path):
    path.symlink_to("nowhere.jpg")


SPECIAL = {  # what stands under a photo's name; what decode_image says, which is the caller's mistake
    "symlink loop": (make_link_loop, "cannot be read"),
    "broken symlink": (make_broken_link, "No such photo"),
    "pipe": (os.mkfifo, "not an ordinary file"),
    "folder": (os.mkdir, "is a folder"),
}


@pytest.mark.parametrize("title", SPECIAL)
def test_no_file_under_a_photo_name(title, tmp_path):
    "Passed over while loading, with a note; refused by name"
    make, reason = SPECIAL[title]
    make(path := make_folder(tmp_path / "photos") / "special.jpg")
    data = load_folder(tmp_path / "photos")
    assert (
        len(data.train) + len(data.validation) == 4
        and len(data.notes) == 1
        and "1 " in data.notes[0]
    )
    assert check_data(data, progress=False) == []
    with pytest.raises(UserError, match=reason) as caught:
        decode_image(path)
    assert caught.value.exit_code == 2


@contextlib.contextmanager
def as_nobody():
    "Root reads everything: be somebody else for a moment"
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("this root may not become another user")
    try:
        yield
    finally:
        os.seteuid(0)


def test_heic_without_its_package_says_what_to_install(tmp_path, capsys, monkeypatch):
    from foodvision.cli import main

    (make_folder(tmp_path / "photos") / "phone.jpg").write_bytes(HEIC)
    hidden = lambda name: None if name == "pillow_heif" else True
    monkeypatch.setattr("importlib.util.find_spec", hidden)
    assert main(["check-data", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert "phone.jpg" in said and "it is HEIC" in said and "pip install 'foodvision[heif]'" in said


def test_a_large_photo_takes_little_memory(tmp_path):
    "The photo is 24 megapixels; all of it in memory would take 69 MiB, a sixteenth of that or so is allowed"
    path, (width, height) = tmp_path / "large.jpg", (6000, 4000)
    DISH.resize((width, height)).save(path)
    code = (
        "import resource, sys; from foodvision.preprocessing import decode_image\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "decode_image(sys.argv[1], 64); before = peak(); print(before)\n"
    )
    photo = saved(DISH, "JPEG")
    (tmp_path / "small.jpg").write_bytes(photo)
    code += f"decode_image({str(path)!r}, 224); print(peak())"
    words = [sys.executable, "-c", code, str(tmp_path / "small.jpg")]
    before, after = map(float, subprocess.check_output(words, text=True).split())
    bound = (path.stat().st_size + 2 * 3 * width * height / 8**2) / 2**20 + 8
    assert after - before < bound < 3 * width * height / 2**20 / 2


def test_no_permission_to_read():
    from foodvision.pipeline import decode_split

    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        os.chmod(place, 0o755)
        path = make_folder(Path(place) / "photos") / "secret.jpg"
        path.write_bytes(JPEG)
        path.chmod(0)
        with as_nobody():
            data = load_folder(Path(place) / "photos")
            name = "train/pizza/secret.jpg"
            assert findings_of(data, name) == {"unreadable"}
            with pytest.raises(BadImage, match="secret.jpg .* cannot be read .Permission denied"):
                decode_split(split_with(data, name), SIZE, progress=False)
            with pytest.raises(UserError, match="No permission to read"):
                decode_image(path)


def test_file_gone_after_loading(tmp_path):
    from foodvision.pipeline import decode_split

    path = make_folder(tmp_path / "photos") / "gone.jpg"
    path.write_bytes(JPEG)
    data = load_folder(tmp_path / "photos")
    path.unlink()
    assert findings_of(data, "train/pizza/gone.jpg") == {"unreadable"}
    with pytest.raises(BadImage, match="gone.jpg"):
        decode_split(split_with(data, "train/pizza/gone.jpg"), SIZE, progress=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    "All inputs in one folder, each under a number of its own"
    root = tmp_path_factory.mktemp("corpus") / "photos"
    place = make_folder(root)
    for number, case in enumerate(CASES.values()):
        suffix = os.path.splitext(case.name)[1]
        (place / f"{number:03}{suffix}").write_bytes(case.content)
    return root


def test_command_check_data(corpus, tmp_path, capsys):
    from foodvision.cli import main

    assert main(["check-data", str(corpus), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err and "photos decoded" in said.out
    with open(tmp_path / "out" / "findings.csv", newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if "duplicate" not in row["kind"]]
    found = {(int(Path(row["name"]).stem), row["kind"]) for row in rows}
    assert found == {
        (number, kind) for number, case in enumerate(CASES.values()) for kind in case.kinds
    }
    assert Image.open(tmp_path / "out" / "findings.png").format == "PNG"
    assert sorted(os.listdir(tmp_path / "out")) == ["findings.csv", "findings.png"]


def test_command_predict(corpus, run_folder, capsys):
    "Every readable photo is answered, every broken one is named in a line of its own, and the exit code is 1"
    from foodvision.cli import main

    assert main(["predict", str(run_folder), str(corpus / "train" / "pizza")]) == 1
    said = capsys.readouterr()
    broken = {f"{number:03}" for number, case in enumerate(CASES.values()) if case.error}
    named = [
        Path(line.split(" is not a readable photo")[0]).stem
        for line in said.err.splitlines()
        if line.startswith("foodvision: ") and "has no calibration" not in line
    ]
    assert set(named) == broken and len(named) == len(broken)
    answered = {Path(line.split(": ")[0]).stem for line in said.out.splitlines()}
    assert answered >= {
        f"{number:03}" for number, case in enumerate(CASES.values()) if not case.error
    }
    assert not answered & broken


# What must hold for every photo whatsoever.

bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)
sides = st.integers(1, 90)
wanted = st.none() | st.integers(1, 100)
MODES = "1 L P RGB RGBA LA PA CMYK YCbCr HSV LAB I I;16 F".split()


def draw_noise(width, height, mode, seed):
    random = np.random.default_rng(seed)
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray(random.integers(0, 65536, (height, width)).astype(kind))
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


@bounded
@given(sides, sides, wanted, st.sampled_from(MODES), st.integers(0, 9))
def test_any_mode_and_size(width, height, size, mode, seed):
    if mode == "LAB":  # Pillow converts to it by a profile only
        image = Image.frombytes(
            "LAB", (width, height), draw_noise(width, height, "RGB", seed).tobytes()
        )
    else:
        image = draw_noise(width, height, mode, seed)
    before = image.tobytes()
    pixels = decode_image(image, size)
    assert pixels.dtype == np.uint8 and pixels.shape == (
        (size, size, 3) if size else (height, width, 3)
    )
    assert pixels.flags.writeable and pixels.flags.c_contiguous
    assert np.array_equal(pixels, decode_image(image, size)) and image.tobytes() == before


@bounded
@given(
    sides, sides, wanted, st.sampled_from("JPEG PNG WEBP GIF BMP TIFF".split()), st.integers(1, 8)
)
def test_any_format_size_and_orientation(width, height, size, format, orientation):
    notes = Image.Exif()
    notes[0x0112] = orientation
    held = format in ("JPEG", "PNG", "WEBP", "TIFF")
    encoded = saved(
        draw_noise(width, height, "RGB", 0), format, **({"exif": notes} if held else {})
    )
    turned = (height, width) if not held or orientation < 5 else (width, height)
    assert decode_image(encoded, size).shape == ((size, size, 3) if size else (*turned, 3))


@bounded
@given(
    sides,
    sides,
    wanted,
    st.sampled_from([bool, np.int8, np.uint16, np.int32, np.int64, np.float16, np.float32]),
)
def test_any_other_dtype_is_refused(width, height, size, dtype):
    with pytest.raises(UserError, match="must be uint8") as caught:
        decode_image(np.zeros((height, width, 3), dtype), size)
    assert caught.value.exit_code == 2


@bounded
@given(st.lists(st.integers(0, 4), min_size=0, max_size=5), wanted)
def test_any_shape_of_array(shape, size):
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
    if fits and 0 not in shape:
        assert decode_image(np.zeros(shape, np.uint8), size).shape[2] == 3
    else:
        with pytest.raises(UserError):
            decode_image(np.zeros(shape, np.uint8), size)


@bounded
@given(sides, sides, wanted, st.integers(0, 9))
def test_pixels_file_and_array_agree(width, height, size, seed):
    image = draw_noise(width, height, "RGB", seed)
    assert np.array_equal(
        decode_image(saved(image, "PNG"), size), decode_image(np.asarray(image), size)
    )
    assert np.array_equal(decode_image(image, size), decode_image(np.asarray(image), size))


@bounded
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\xff\xd8\xff\xe0", PNG[:8], b"GIF89a", b"BM", b"RIFF"]),
)
def test_any_bytes_are_a_photo_or_a_bad_image(rest, start):
    with contextlib.suppress(BadImage):
        assert decode_image(start + rest, 16).shape == (16, 16, 3)


@bounded
@given(
    st.sampled_from([JPEG, PROGRESSIVE, PNG, GIF, WEBP, BMP]),
    st.integers(0, 2**31),
    st.integers(0, 255),
)
def test_any_changed_byte_is_survived(whole, place, value):
    changed = bytearray(whole)
    changed[place % len(whole)] = value
    with contextlib.suppress(BadImage):
        assert decode_image(bytes(changed), 16).shape == (16, 16, 3)


@bounded
@given(st.sampled_from([JPEG, PROGRESSIVE, PNG, WEBP]), st.integers(0, 2**31))
def test_cut_off_anywhere_is_noticed(whole, place):
    with pytest.raises(BadImage):
        decode_image(whole[: place % len(whole)], 16)
