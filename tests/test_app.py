"`foodvision app` as a user sees it: in a headless Chromium, on a machine without a network"

import contextlib
import csv
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import chromium
import pytest
from conftest import BIN, run, succeed

from foodvision.drawing import draw_dish

SIZES = {"desktop": (1100, 900), "phone": (390, 844)}
KEEP_SECONDS = 8
# The command as installed, except that visitors' files go sooner than after a minute.
START = (
    f"import sys, foodvision.app as app; app._KEEP_SECONDS = {KEEP_SECONDS}; "
    "from foodvision.cli import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, offline) -> Path:
    "A small finished run on the drawn sample, with its temperature and threshold"
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = "--backbone EfficientNetLite0 --image-size 96 --feature-epochs 3 --fine-tune-epochs 0".split()
    succeed("foodvision", "train", "--run", folder, *settings, **offline)
    return folder


class App:
    "The app as a process, its address and the folder that it may write to"

    def __init__(self, trained, temporary, offline, *options, start=START):
        environment = {
            **os.environ,
            **offline,
            "TMPDIR": str(temporary),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        words = [str(BIN / "python"), "-c", start, "app", str(trained), *options]
        self.temporary = temporary
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=temporary,
            env=environment,
        )
        said = next((line for line in self.process.stdout if "http" in line), "")
        self.address = (
            re.search(r"http://\S+", said)[0]
            if "http" in said
            else pytest.fail(self.process.stderr.read())
        )

    def stop(self, sent=signal.SIGINT) -> tuple[int, str, str]:
        "Exit code and what was said after the signal"
        self.process.send_signal(sent)
        out, errors = self.process.communicate(timeout=30)
        return self.process.returncode, out, errors


@pytest.fixture(scope="module")
def app(trained, tmp_path_factory, offline):
    running = App(trained, tmp_path_factory.mktemp("temporary"), offline, "--port", "0")
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture(scope="module")
def browser():
    if not chromium.find():
        pytest.skip(
            "no Chromium on this machine: `apt-get install chromium`, or run `make test` as root on Debian"
        )
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-dev-shm-usage",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    ]
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium.find(), args=flags)
        yield running
        running.close()


@pytest.fixture
def visit(browser, app):
    "A function that opens the page in a new window; at the end it checks what no visit may do"
    opened = []

    def visit(size="desktop", scheme="light"):
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
                page.troubles.append(said.text) if "Content Security" in said.text else None
            ),
        )
        opened.append((context, page))
        page.goto(app.address)
        page.locator(".answer").wait_for()
        return page

    yield visit
    for context, page in opened:
        foreign = [url for url in page.asked if not url.startswith((app.address, "data:", "blob:"))]
        context.close()
        assert not foreign and not page.troubles


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    "What visitors bring"
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(("sushi", "pizza", "donuts")):
        draw_dish(name, 300_000 + seed, (1600, 1200)).save(folder / f"{name}.jpg")
    (folder / "page.jpg").write_text("<html>Not found</html>")
    (folder / "cut.jpg").write_bytes((folder / "sushi.jpg").read_bytes()[:5000])
    (folder / "large.jpg").write_bytes((folder / "sushi.jpg").read_bytes() + bytes(41_000_000))
    return folder


def send(page, path):
    page.locator("input[type=file]").set_input_files(path)


@pytest.fixture(scope="module")
def expected(trained, photos) -> dict:
    "What the command says about the sushi"
    done = succeed("foodvision", "predict", trained, photos / "sushi.jpg", "--top", "5", "--csv")
    return next(csv.DictReader(done.stdout.splitlines()))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_photo_is_answered(visit, photos, expected, size, scheme, tmp_path):
    page = visit(size, scheme)
    send(page, photos / "sushi.jpg")
    page.locator(".answer ol").wait_for()
    ranked = page.locator(".answer li").all_inner_texts()
    assert len(ranked) == 5
    for place, line in enumerate(ranked, 1):
        name, chance = line.split("\n")
        assert name == expected[f"class_{place}"].replace("_", " ")
        assert (
            abs(
                float(chance.removesuffix("%").strip().removeprefix("< "))
                - 100 * float(expected[f"probability_{place}"])
            )
            < 0.1
        )
    assert page.evaluate("document.querySelector('.answer img').naturalWidth") == 800
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length")
    assert not broken
    page.screenshot(
        path=Path(os.environ.get("FOODVISION_SCREENSHOTS") or tmp_path) / f"{size}-{scheme}.png",
        full_page=True,
    )


@pytest.mark.parametrize(
    "name, said", [("page.jpg", "it is text that begins with"), ("cut.jpg", "damaged or cut off")]
)
def test_a_bad_file_gets_a_sentence(visit, photos, name, said):
    page = visit()
    send(page, photos / name)
    page.locator(".trouble").wait_for()
    text = page.locator(".trouble").inner_text()
    assert said in text and "Traceback" not in text and "/" not in text.replace("</", "")
    page.get_by_label("Clear").or_(page.get_by_label("Remove")).first.click()
    send(page, photos / "pizza.jpg")  # and the next photo is answered
    page.locator(".answer ol").wait_for()


def test_a_file_too_large_is_refused(visit, photos, app):
    page = visit()
    send(page, photos / "large.jpg")
    page.get_by_text("maximum", exact=False).first.wait_for(timeout=15_000)
    assert not page.locator(".answer ol").count()
    assert not list(app.temporary.rglob("large.jpg"))


def test_an_example_is_answered(visit):
    page = visit()
    page.locator("button.gallery-item, .gallery button, .gallery-item").first.click()
    page.locator(".answer ol").wait_for()


def test_the_camera_is_answered(visit):
    page = visit()
    page.context.grant_permissions(["camera"])
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function(
        "document.querySelector('video')?.videoWidth > 0"
    )  # until there is a picture, a click takes none
    page.get_by_label("capture photo").click()
    page.locator(".answer ol").wait_for()


def test_nothing_a_visitor_sent_is_kept(visit, photos, app):
    page = visit()
    send(page, photos / "donuts.jpg")
    page.locator(".answer ol").wait_for()
    assert visitors(app), "the upload is looked for in the wrong place"
    deadline = time.time() + KEEP_SECONDS + 10
    while (left := visitors(app)) and time.time() < deadline:
        time.sleep(0.5)
    assert not left


def visitors(app) -> list[Path]:
    "Files below the app's folder that it did not make itself"
    [folder] = app.temporary.iterdir()
    files = [
        path for path in folder.rglob("*") if path.is_file() and path.parent.name != "examples"
    ]
    return [
        path for path in files if not path.name.startswith("__autograph_generated_file")
    ]  # TensorFlow's, of its own source


def listening(port: int) -> set[str]:
    "Addresses on which somebody listens on a port, as the kernel says"
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, _, state = line.split()[1:4]
            if state == "0A" and int(local.rsplit(":", 1)[1], 16) == port:
                found.add(local.rsplit(":", 1)[0])
    return found


def other_addresses() -> set[str]:
    "Addresses of this machine but 127.0.0.1: one more of its loopback's, and those of its network, if it has one"
    found = {
        info[4][0]
        for info in socket.getaddrinfo(socket.gethostname(), 0, socket.AF_INET, socket.SOCK_STREAM)
    }
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(
            ("192.0.2.1", 9)
        )  # sends nothing; the kernel only chooses the address it would send from
        found.add(asking.getsockname()[0])
    return found - {"127.0.0.1"} | {"127.0.0.2"}


def reached(port: int) -> set[str]:
    "Those of this machine's other addresses on which a port answers"
    found = set()
    for address in other_addresses():
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=2):
            found.add(address)
    return found


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="asks Linux which addresses are listened on"
)
def test_only_this_machine_is_served(app):
    with socket.create_server(
        ("0.0.0.0", 0)
    ) as everywhere:  # what the test would see if the app did this
        port = everywhere.getsockname()[1]
        assert reached(port) >= {"127.0.0.2"} and listening(port) == {"00000000"}
    port = int(app.address.rsplit(":", 1)[1])
    assert not reached(port)
    assert listening(port) == {"0100007F"}, "127.0.0.1, as the kernel writes it"


@pytest.mark.parametrize(
    "path", ["gradio_api/file=/etc/passwd", "docs", "openapi.json", "gradio_api/runs"]
)
def test_the_server_offers_nothing_else(app, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{app.address}/{path}", timeout=10)
    assert refused.value.code in (401, 403, 404)


def test_a_port_in_use_is_said(trained, app):
    port = app.address.rsplit(":", 1)[1]
    done = run("foodvision", "app", trained, "--port", port)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"Port {port} on 127.0.0.1 is in use" in done.stderr


def test_no_run_and_no_examples_are_said(trained, tmp_path):
    for words, said in [
        ((tmp_path / "no",), "No run folder"),
        ((trained, "--examples", tmp_path / "no"), "No such photo"),
    ]:
        done = run("foodvision", "app", *words, "--port", "0")
        assert (done.returncode, done.stderr.count("\n"), said in done.stderr) == (2, 1, True), (
            done.stderr
        )


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_and_leaves_nothing(trained, tmp_path, offline, photos, sent):
    app = App(trained, tmp_path, offline, "--port", "0", "--examples", str(photos / "pizza.jpg"))
    with socket.create_connection(
        ("127.0.0.1", int(app.address.rsplit(":", 1)[1]))
    ):  # somebody is still connected
        code, out, errors = app.stop(sent)
    assert (code, list(tmp_path.iterdir())) == (0, [])
    assert "Stopped" in out and "Traceback" not in errors


IN_A_LOOP = """
import asyncio
from foodvision.app import serve_app
async def cell():  # a notebook runs its cells in a loop that is running already
    serve_app("food101", port=0)
for _ in range(2):
    asyncio.run(cell())
"""
IN_A_THREAD = """
import threading
from foodvision.app import serve_app
threading.Thread(target=serve_app, args=["food101"], kwargs={"port": 0}, daemon=True).start()
input()
"""


@pytest.mark.parametrize(
    "lines, times", [(IN_A_LOOP, 2), (IN_A_THREAD, 1)], ids=["in a loop", "in a thread"]
)
def test_it_runs_in_a_notebook_and_in_a_thread(tmp_path, offline, lines, times):
    environment = {**os.environ, **offline, "TMPDIR": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    pipes = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
    process = subprocess.Popen(
        [sys.executable, "-c", lines], env=environment, cwd=tmp_path, text=True, **pipes
    )
    giving_up = threading.Timer(120, process.kill)
    giving_up.start()
    for _ in range(times):
        said = process.stdout.readline()
        assert "http" in said, process.stderr.read()
        with urllib.request.urlopen(re.search(r"http://\S+", said)[0], timeout=30) as response:
            assert response.status == 200
        if times > 1:
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline().startswith("Stopped")
    _, errors = process.communicate("\n", timeout=60)
    giving_up.cancel()
    assert (process.returncode, list(tmp_path.iterdir())) == (0, []), errors
    assert "Traceback" not in errors
