"The page that `foodvision export --format web` writes, as a visitor sees it: in a headless Chromium, on any web host"

import base64
import io
import json
import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import chromium
import numpy as np
import pytest
from conftest import BIN, run, succeed
from PIL import Image
from test_benchmarks import TINY_BACKBONE

from foodvision.drawing import SAMPLE_CLASSES, draw_dish
from foodvision.drawing_ood import draw_out_of_distribution
from foodvision.inference import Classifier
from foodvision.preprocessing import FIT_WORDS, decode_image, place_photo

SIZES = {"desktop": (1100, 900), "phone": (390, 844)}
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"]
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
NO_ADAPTER = "No available adapters."  # Chromium's own remark where a page looks for WebGPU and there is none


@pytest.fixture(scope="module")
def folder(tmp_path_factory, offline) -> Path:
    "The page of the classifier that comes with the package"
    out = tmp_path_factory.mktemp("web") / "page"
    done = succeed("foodvision", "export", "food101", "--format", "web", "--out", out, **offline)
    assert done.stdout.splitlines()[-1] == f"Exported: {out}"
    return out


@contextmanager
def served(folder):
    "The address of a folder, as Python's own web server shows it; nothing is there any more afterwards"
    words = [
        str(BIN / "python"),
        "-u",
        "-m",
        "http.server",
        "0",
        "--bind",
        "127.0.0.1",
        "--directory",
        str(folder),
    ]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield re.search(r"http://\S+?:\d+", server.stdout.readline())[0]
    finally:
        server.kill()
        server.communicate()


@pytest.fixture(scope="module")
def address(folder):
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def play():
    if not chromium.find():
        pytest.skip(
            "no Chromium on this machine: `apt-get install chromium`, or run `make test` as root on Debian"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        yield play


@pytest.fixture(scope="module")
def launch(play):
    "A function that starts a Chromium with flags of its own"
    running = []

    def launch(*flags):
        running.append(play.chromium.launch(executable_path=chromium.find(), args=[*FLAGS, *flags]))
        return running[-1]

    yield launch
    for browser in running:
        browser.close()


@pytest.fixture(scope="module")
def browser(launch):
    return launch("--disable-gpu", *CAMERA)


@pytest.fixture
def visit(browser):
    "A function that opens a page in a new window; at the end it checks what no visit may do"
    opened = []

    def visit(address, size="desktop", scheme="light", state="ready"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        page = context.new_page()
        page.asked, page.troubles = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on(
            "console",
            lambda said: (
                page.troubles.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        opened.append((context, page, address))
        page.goto(address)
        wait(page, state)
        return page

    yield visit
    for context, page, address in opened:
        foreign = [url for url in page.asked if not url.startswith((address, "data:", "blob:"))]
        troubles = [text for text in page.troubles if text != NO_ADAPTER]
        context.close()
        assert not foreign and not troubles


@pytest.fixture
def page(visit, address):
    return visit(address)


def wait(page, state):
    page.locator(f"html[data-state={state}]").wait_for(timeout=30_000, state="attached")


def send(page, name, content, state="answered"):
    "Choose a file as a visitor does"
    page.evaluate("document.documentElement.dataset.state = 'waiting'")
    page.locator("#file").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )
    wait(page, state)
    return page.locator("#answer").inner_text()


def encoded(photo, format="JPEG", **options) -> bytes:
    file = io.BytesIO()
    photo.save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load("food101")


@pytest.fixture(scope="module")
def pizza() -> bytes:
    return encoded(draw_dish("pizza", 200_001, (700, 500)), quality=92)


def test_it_is_compact(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 15e6
    assert not [
        path.name
        for path in files
        if path.suffix in (".py", ".md", ".map") or path.name.startswith(".")
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_photo_is_answered(visit, address, classifier, pizza, size, scheme, tmp_path):
    page = visit(address, size, scheme)
    text = send(page, "pizza.jpg", pizza)
    [expected] = classifier.predict(pizza)
    rows = [line.split("\n") for line in page.locator("#answer li").all_inner_texts()]
    assert [name for name, _ in rows] == [name.replace("_", " ") for name, _ in expected.ranked]
    for (_, chance), (_, probability) in zip(rows, expected.ranked, strict=True):
        assert abs(float(chance.removesuffix(" %").removeprefix("< ")) - 100 * probability) < 0.1
    assert re.search(r"Answered in \d+ ms by LiteRT [\d.]+ in WebAssembly", text)
    plain = page.evaluate("document.getElementById('preview').toDataURL()")
    page.get_by_label("Show what the answer rests on").check()
    assert page.evaluate("document.getElementById('preview').toDataURL()") != plain
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 384) == (scheme == "light"), ground
    page.screenshot(
        path=Path(os.environ.get("FOODVISION_SCREENSHOTS") or tmp_path)
        / f"web-{size}-{scheme}.png",
        full_page=True,
    )


def variants() -> list[tuple[str, bytes]]:
    "A hundred files of drawn dishes: sizes, shapes, formats, modes and orientations as cameras and programs write them"
    random, made = np.random.default_rng(0), []
    drawn = [draw_dish(name, 400_000, (300, 240)) for name in SAMPLE_CLASSES]
    for number in range(20):
        photo = drawn[number % len(drawn)].rotate(
            37 * (number // len(drawn)), Image.Resampling.BICUBIC
        )
        exif = Image.Exif()
        exif[0x0112] = number % 8 + 1
        wide, high = (int(n) for n in random.integers(40, 1600, 2))
        see_through = photo.resize((301, 200)).convert("RGBA")
        see_through.putalpha(Image.linear_gradient("L").resize(see_through.size))
        small = photo.resize((64, 64)) if number % 2 else photo.resize((65, 63))
        made += [
            (
                f"{number}-turned.jpg",
                encoded(
                    photo.resize((wide, high)), exif=exif, quality=int(random.integers(40, 98))
                ),
            ),
            (
                f"{number}-fine.jpg",
                encoded(
                    photo.resize((511, 384)),
                    quality=95,
                    subsampling=number % 3,
                    progressive=bool(number % 2),
                ),
            ),
            (f"{number}.png", encoded(see_through if number % 2 else photo.convert("P"), "PNG")),
            (
                f"{number}.webp",
                encoded(photo.resize((500, 401)), "WEBP", lossless=bool(number % 2), method=0),
            ),
            (
                f"{number}-small.bmp",
                encoded(
                    small.convert("L") if number % 3 == 0 else small, "BMP" if number % 2 else "PNG"
                ),
            ),
        ]
    return made


ASK = """async ([name, text]) => {
    await foodvision.take(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name));
    const { outputs, pixels, said } = foodvision.shown;
    return { logits: [...outputs.logits], pixels: [...pixels], said };
}"""


def ask(page, name, content):
    return page.evaluate(ASK, [name, base64.b64encode(content).decode()])


def test_a_hundred_photos_get_the_answers_of_python(page, classifier):
    files = variants()
    found = [ask(page, *file) for file in files]
    expected = classifier.predict([content for _, content in files], top=5)
    same = [
        answer["said"]["ranked"][0]["name"] == wanted.best
        for answer, wanted in zip(found, expected, strict=True)
    ]
    apart = [
        max(
            abs(row["probability"] - dict(wanted.ranked).get(row["name"], row["probability"]))
            for row in answer["said"]["ranked"]
        )
        for answer, wanted in zip(found, expected, strict=True)
    ]
    assert len(files) == 100 and sum(same) >= 99, [
        name for (name, _), right in zip(files, same) if not right
    ]
    assert max(apart) <= 0.02, [(name, by) for (name, _), by in zip(files, apart) if by > 0.02]
    assert (
        sum(
            answer["said"]["sure"] == wanted.sure
            for answer, wanted in zip(found, expected, strict=True)
        )
        >= 99
    )
    pixels = [
        abs(
            np.array(answer["pixels"]).reshape(64, 64, 3) - classifier.predictor.decode(content)
        ).max()
        for answer, (_, content) in zip(found, files, strict=True)
    ]
    assert np.mean(np.array(pixels) == 0) >= 0.7 and max(pixels) <= 3, (
        "how a photo is scaled is no longer what Pillow does"
    )


FITTED = """async ([text, sizes, fits]) => {
    const { decode, placePhoto, square } = await import(new URL("photo.js", location));
    const photo = await decode(new Blob([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))]));
    const box = ({ left, top, width, height }) => [left, top, left + width, top + height];
    const place = (width, height, side, fit) => Object.values(placePhoto({ width, height }, side, fit)).map(box);
    return [sizes.map((size) => fits.map((fit) => place(...size, fit))), fits.map((fit) => [...square(photo, { side: 64, fit })])];
}"""


def test_a_photo_becomes_a_square_as_in_python(page):
    "Every fit: the boxes are equal, and so are the pixels of a turned PNG"
    sizes = [(w, h, n) for w, h in [(400, 300), (301, 402), (7, 5000), (65, 64)] for n in (64, 97)]
    turned = Image.Exif()
    turned[0x0112] = 6
    photo = encoded(draw_dish("pizza", 200_001, (301, 200)), "PNG", exif=turned)
    text = base64.b64encode(photo).decode()
    boxes, squares = page.evaluate(FITTED, [text, sizes, list(FIT_WORDS)])
    assert boxes == [[list(map(list, place_photo(*s, fit))) for fit in FIT_WORDS] for s in sizes]
    for fit, pixels in zip(FIT_WORDS, squares, strict=True):
        apart = np.array(pixels).reshape(64, 64, 3) - decode_image(photo, 64, fit=fit)
        assert not apart.any(), fit


def test_not_sure_has_its_reason(page, classifier):
    for photo in draw_out_of_distribution(4, seed=3):
        content = encoded(photo, "PNG")
        text = send(page, "other.png", content)
        [wanted] = classifier.predict(content)
        assert text.startswith("Not sure") and wanted.reason in text and not wanted.sure


def test_drop_paste_and_camera(page, pizza):
    given = """([kind, text]) => {
        const data = new DataTransfer();
        if (text) data.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], "photo.jpg", { type: "image/jpeg" }));
        const options = { bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data };
        document.documentElement.dataset.state = "waiting";
        document.body.dispatchEvent(kind === "drop" ? new DragEvent("drop", options) : new ClipboardEvent("paste", options));
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(given, [kind, base64.b64encode(pizza).decode()])
        wait(page, "answered")
        assert page.locator("#answer li").count() == 5
        page.evaluate(given, [kind, ""])
        wait(page, "trouble")
    page.context.grant_permissions(["camera"])
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the photo").click()
    wait(page, "answered")
    assert not page.evaluate("document.getElementById('video').srcObject")


def test_by_keyboard_alone(page):
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "document.activeElement.textContent.trim() || document.activeElement.querySelector('img')?.alt"
            )
        )
    assert names[:2] == ["Choose a photo", "Use the camera"] and names[2].startswith("Example: ")
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.className") == "example":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("Enter")
    wait(page, "answered")
    with page.expect_file_chooser():
        page.get_by_role("button", name="Choose a photo").focus()
        page.keyboard.press("Enter")
    assert outline == "solid"


def test_a_screen_reader_has_names_for_all(page, pizza):
    send(page, "pizza.jpg", pizza)
    seen = page.locator("body").aria_snapshot()
    for line in (
        'heading "What dish is this?"',
        'region "The answer"',
        'img "Your photo; the model looks at its centre square"',
        'button "Choose a photo"',
        'checkbox "Show what the answer rests on"',
        "list:",
    ):
        assert line in seen, f"{line} is not in\n{seen}"
    assert page.locator("#answer").get_attribute("aria-live") == "polite"
    assert page.evaluate(
        "[...document.images].every((image) => image.alt) && document.documentElement.lang === 'en'"
    )


def test_what_is_no_photo_gets_a_line(page, pizza):
    huge = encoded(Image.new("1", (10_000, 10_000)), "PNG")
    larger = encoded(Image.new("L", (12_000, 12_000)), "JPEG")
    drawn = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
    for name, content, said in [
        ("notes.jpg", b"not a photo at all", "is not a readable photo"), ("huge.png", huge, "100 megapixels; up to 89"),
        ("huge.jpg", larger, "144 megapixels; up to 134"),
        ("cut.jpg", pizza[:9000], "cut off"), ("cut.png", encoded(Image.open(io.BytesIO(pizza)), "PNG")[:-5000], "cut off"),
        ("empty.jpg", b"", "is empty"), ("drawing.svg", drawn, "JPEG, PNG or WebP works best"),
    ]:  # fmt: skip
        text = send(page, name, content, "trouble")
        assert "That did not work" in text and f"“{name}”" in text and said in text, text
        assert page.locator("#why").is_hidden()
    assert "pizza" in send(page, "pizza.jpg", pizza)  # and the next photo is answered


def test_the_latest_photo_counts(page, pizza):
    other = encoded(draw_dish("macarons", 200_000, (320, 320)))
    both = f"async (files) => Promise.all(files.map(({ASK.split('const')[0]} }}))).then(() => foodvision.shown.said.ranked[0].name)"
    assert (
        page.evaluate(
            both, [["a", base64.b64encode(pizza).decode()], ["b", base64.b64encode(other).decode()]]
        )
        == "macarons"
    )


def test_it_goes_on_without_a_network(visit, folder, pizza):
    with served(folder) as address:
        page = visit(address)
    page.context.set_offline(True)
    before = len(page.asked)
    send(page, "pizza.jpg", pizza)
    for example in page.locator(".example").all():
        page.evaluate("document.documentElement.dataset.state = 'waiting'")
        example.click()
        wait(page, "answered")
    assert not [url for url in page.asked[before:] if not url.startswith("blob:")]


def test_it_keeps_its_policy(browser, address):
    page = browser.new_page()
    page.goto(address)
    wait(page, "ready")
    broken = page.evaluate("""async () => {
        const found = [];
        addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
        document.body.insertAdjacentHTML("beforeend", "<p style='color: red' onclick='0'></p>");
        document.body.append(Object.assign(document.createElement("script"), { textContent: "self.broken = true" }));
        await fetch("http://192.0.2.1/").catch(() => 0);
        document.body.append(Object.assign(new Image(), { src: "http://192.0.2.1/a.png" }));
        await new Promise((resolve) => setTimeout(resolve, 100));
        return [self.broken, ...found];
    }""")
    page.close()
    assert broken[0] is None and set(broken[1:]) == {
        "style-src-attr",
        "script-src-attr",
        "script-src-elem",
        "connect-src",
        "img-src",
    }


def test_where_it_cannot_work_it_says_so(browser, address, folder):
    for options, place, said in [
        ({}, f"file://{folder}/index.html", "python -m http.server"),
        ({"java_script_enabled": False}, address, "JavaScript, which is switched off"),
    ]:
        context = browser.new_context(**options)
        page = context.new_page()
        page.goto(place)
        page.get_by_text(said).wait_for(timeout=5000)
        context.close()
    context = browser.new_context()
    context.add_init_script("delete self.WebAssembly")
    page = context.new_page()
    page.goto(address)
    wait(page, "failed")
    assert "no WebAssembly" in page.locator("#answer").inner_text()
    context.close()


def test_a_part_that_is_missing_is_said(folder, browser, tmp_path):
    for path in folder.iterdir():
        if path.name != "model.tflite":
            os.symlink(path, tmp_path / path.name)
    with served(tmp_path) as address:
        page = browser.new_page()
        page.goto(address)
        wait(page, "trouble")
        assert "could not be loaded (model.tflite: 404)" in page.locator("#answer").inner_text()
        assert "could not be loaded" in send(page, "early.jpg", b"", "trouble")
        page.close()


IN_FAVOUR = """async () => {
    const model = await foodvision.loading, clock = performance.now.bind(performance);
    let looks = 0; // five answers are timed each way, WebAssembly's first: they get a slow clock
    performance.now = () => (++looks <= 10 ? looks * 1e5 : 1e7 + looks);
    try {
        return await model.tryWebGpu(foodvision.shown.pixels, true);
    } finally {
        performance.now = clock;
    }
}"""


def test_webgpu_says_the_same(launch, address, pizza):
    "With a GPU made of software, which is slower in truth, and a clock that has it win: it answers, and the same"
    page = launch(
        "--enable-unsafe-webgpu", "--enable-features=Vulkan", "--use-webgpu-adapter=swiftshader"
    ).new_page()
    page.goto(address)
    wait(page, "ready")
    first = send(page, "pizza.jpg", pizza)
    if (became := page.evaluate(IN_FAVOUR)) == "not there":
        pytest.skip("this Chromium has no WebGPU, not even in software")
    again = send(page, "pizza.jpg", pizza)
    assert became == "faster here" and "in WebAssembly" in first and "in WebGPU" in again
    assert first.split("Answered")[0] == again.split("Answered")[0]


@pytest.fixture(scope="module")
def own_run(tmp_path_factory, offline) -> Path:
    "A person's own run: two dishes, and a backbone that computes nothing to speak of"
    place = tmp_path_factory.mktemp("own")
    succeed("python", "-c", TINY_BACKBONE, place / "tiny.keras")
    for name in ("pizza", "sushi"):
        for number in range(24):
            path = (
                place / "photos" / ("test" if number % 3 == 0 else "train") / name / f"{number}.jpg"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_dish(name, number, (96, 80)).save(path)
    words = [
        "--data",
        place / "photos",
        "--backbone",
        place / "tiny.keras",
        "--image-size",
        32,
        "--fine-tune-epochs",
        0,
    ]
    succeed(
        "foodvision", "train", *words, "--feature-epochs", 2, "--run", place / "mine", **offline
    )
    return place / "mine"


def test_a_persons_own_run(own_run, visit, offline):
    out = own_run.parent / "page"
    succeed("foodvision", "export", own_run, "--format", "web", "--out", out, **offline)
    classifier = Classifier.load(own_run)
    with served(out) as address:
        page = visit(address)
        assert "It knows 2 dishes: pizza, sushi." in page.locator("header").inner_text()
        for name in ("pizza", "sushi"):
            for format in ("JPEG", "PNG"):
                content = encoded(draw_dish(name, 500_000, (500, 300)), format)
                found, [wanted] = ask(page, "photo", content)["said"], classifier.predict(content)
                assert found["ranked"][0]["name"] == wanted.best and found["sure"] == wanted.sure
                assert abs(found["ranked"][0]["probability"] - wanted.ranked[0][1]) <= 0.02


def test_calls_that_cannot_work_are_said(own_run, folder, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    for words, code, said in [
        (("food101", "--format", "web"), 2, "Say where the page is to be written"),
        (("food101", "--format", "web", "--out", tmp_path), 2, "exists already"),
        (
            (own_run, "--format", "web", "--quantize", "int8"),
            2,
            "quantize is for the format litert",
        ),
        ((tmp_path, "--format", "web"), 2, "is not a run folder"),
    ]:
        done = run("foodvision", "export", *words)
        assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (code, 1, True), (
            done.stderr
        )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_benchmark_writes_what_it_says(browser, tmp_path, offline):
    done = succeed("foodvision", "bench", "web", "--quick", "--out", tmp_path, **offline)
    content = json.loads((tmp_path / "web.json").read_text())
    assert (
        len(content["tables"][0]["rows"]) == 4
        and len(content["targets"]) == 3
        and content["targets"][0]["met"]
    )
    assert "whose figures mean nothing" in done.stdout
