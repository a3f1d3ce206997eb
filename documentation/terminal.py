"""Draw nbs/images/demo.svg, a terminal after `make demo`, from what it prints: python -m documentation.terminal

The installation is left out: only the demo's own lines of the Makefile are run, in a folder that is removed.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "nbs" / "images" / "demo.svg"
COLUMNS, FONT, LINE, EDGE = 108, 13, 19, 16  # Characters; the rest in pixels
GREEN, WHITE, GREY, GROUND = "#7ee787", "#e6edf3", "#9aa4af", "#0d1117"


def commands() -> str:
    "The lines that `make demo` runs after the installation, as shell"
    lines = subprocess.check_output(
        ["make", "--dry-run", "--always-make", "demo"], cwd=ROOT, text=True
    )
    start = lines.index(".venv/bin/foodvision")
    return lines[start:].replace(".venv/bin/foodvision", "foodvision")


def run(script: str) -> list[str]:
    "What a script leaves on a terminal, progress bars in their last state"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "PYTHONUNBUFFERED": "1", "TQDM_NCOLS": str(COLUMNS)}
    with tempfile.TemporaryDirectory() as folder:
        settings |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": folder}
        shown = subprocess.check_output(
            ["bash", "-euc", script],
            cwd=folder,
            env={**os.environ, **settings},
            stderr=subprocess.STDOUT,
        )
    lines = shown.decode("utf-8").split("\n")
    return [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines]


def draw(lines: list[str]) -> str:
    "The lines as an SVG picture: the command green, progress bars grey"
    width, height = round(COLUMNS * FONT * 0.603) + 2 * EDGE, (len(lines) + 1) * LINE + EDGE
    texts = []
    for number, line in enumerate(lines):
        color = GREEN if line.startswith("$") else GREY if "|" in line else WHITE
        y = EDGE + (number + 1) * LINE
        texts.append(f'<text x="{EDGE}" y="{y}" fill="{color}">{escape(line)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f"font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" "
        f'font-size="{FONT}" xml:space="preserve">\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="{GROUND}"/>\n'
        + "\n".join(texts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    printed = [line for line in run(commands()) if line]
    PICTURE.write_text(draw(["$ make demo", *printed]), encoding="utf-8")
