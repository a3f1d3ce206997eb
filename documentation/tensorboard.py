"""Take nbs/images/tensorboard.png, TensorBoard's page on logs of runs: python -m documentation.tensorboard [FOLDER]

Without a folder of runs it trains those of the tutorial `food_vision_big`. TensorBoard is started on their logs, and
its page is opened in the Chromium of this machine.
"""

import io
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from foodvision.run import Config
from foodvision.training import train
from tests import chromium

PICTURE = Path(__file__).parent.parent / "nbs" / "images" / "tensorboard.png"
CONFIG = Config(
    validation_fraction=0.25,
    backbone="EfficientNetLite0",
    image_size=96,
    feature_epochs=10,
    fine_tune_epochs=3,
    augmentation="light",
    label_smoothing=0,
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
]
QUERY = "?darkMode=false&tagFilter=epoch&smoothing=0#timeseries"
CHART = "card-view"  # TensorBoard's element for one chart


def screenshot(address: str) -> bytes:
    "PNG of TensorBoard's time series once all charts are drawn"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium.find(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 560})
        page.set_default_timeout(180_000)
        page.goto(address + QUERY)
        page.locator(CHART).first.wait_for()
        page.locator("button", has_text="Settings").first.click()  # closes that pane
        page.wait_for_timeout(8_000)  # the charts fade in
        picture = page.screenshot()
        browser.close()
    return picture


def serve(folder: Path):
    "A TensorBoard on the logs below `folder`, and its address"
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        ".",
        "--port",
        "0",
        "--host",
        "127.0.0.1",
    ]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if found := re.search(r"http://\S+:\d+/", line):
            return server, found[0]
    raise SystemExit("TensorBoard did not start")


def train_runs(folder: Path):
    "The tutorial's two runs, in `folder`"
    train(replace(CONFIG, fine_tune_epochs=0), folder / "features")
    train(CONFIG, folder / "fine_tuned")


def main(runs: Path):
    "Look at the runs in a folder and save the picture"
    server, address = serve(runs)
    try:
        picture = Image.open(io.BytesIO(screenshot(address)))
    finally:
        server.terminate()
        server.wait()
    picture.convert("RGB").quantize(128).save(PICTURE, optimize=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            train_runs(Path(temporary))
            main(Path(temporary))
