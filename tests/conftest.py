"Shared by all tests: paths, the list of chapters, a copy of the sources to build in, and commands run as a user runs them"

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import warm
import yaml

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(
    path.relative_to(ROOT / "nbs")
    for path in (ROOT / "nbs").rglob("*.ipynb")
    if ".ipynb_checkpoints" not in path.parts
)
BIN = Path(sys.executable).parent
# The sidebar of the site is the only list of chapters: imports and links from chapter to chapter follow its order.
_QUARTO = yaml.safe_load((ROOT / "nbs" / "_quarto.yml").read_text(encoding="utf-8"))
_PAGES = [
    page
    for part in _QUARTO["website"]["sidebar"]["contents"]
    if isinstance(part, dict)
    for page in part["contents"]
]
CHAPTERS = [page for page in _PAGES if re.match(r"\d\d_", page)]
CORE = [page[3:].removesuffix(".ipynb") for page in CHAPTERS]
APPENDIX = [
    page.removeprefix("appendix/").removesuffix(".ipynb")
    for page in _PAGES
    if page.startswith("appendix/")
]

# The beginning of a script that runs as on a machine without TensorFlow
WITHOUT_TENSORFLOW = """
import sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Finder())
"""


def _environment(changes: dict) -> dict:
    "This process' environment with changes, and this environment's programs first on the path"
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", **changes}
    return {**env, "PATH": f"{BIN}{os.pathsep}{env['PATH']}"}


def start(*command, cwd=ROOT, **environment) -> warm.Process:
    "Start `foodvision` as a process, spared the import of TensorFlow"
    return warm.Process([str(word) for word in command], cwd, _environment(environment))


def run(*command, cwd=ROOT, timeout=600, cold=False, **environment) -> subprocess.CompletedProcess:
    """Run a command with this environment's programs first on the path; returns its exit code and what it printed.

    `cold`: as a person starts it; without, `foodvision` is spared the import of TensorFlow.
    """
    words = [str(word) for word in command]
    if words[0] == warm.COMMAND and not cold:
        outputs = (process := start(*words, cwd=cwd, **environment)).communicate(timeout)
        return subprocess.CompletedProcess(words, process.returncode, *outputs)
    options = {"cwd": cwd, "env": _environment(environment), "timeout": timeout}
    return subprocess.run(words, capture_output=True, text=True, **options)


def succeed(*command, **options) -> subprocess.CompletedProcess:
    "Run a command that has to work; what it printed is the failure's message"
    done = run(*command, **options)
    said = f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    assert done.returncode == 0, f"{' '.join(map(str, command))} exited {done.returncode}\n{said}"
    return done


@pytest.fixture(scope="session")
def offline(tmp_path_factory) -> dict:
    "Environment without a network and with a cache that begins empty: whatever asks for another host fails at once"
    nowhere = dict.fromkeys(
        ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"], "http://127.0.0.1:9"
    )
    local = dict.fromkeys(["NO_PROXY", "no_proxy"], "localhost,127.0.0.1,::1")
    base = tmp_path_factory.getbasetemp()  # below that of the whole run, if several processes test
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    if sample := os.environ.get("FOODVISION_SAMPLE"):  # `make test` has drawn it
        (cache / "foodvision").mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (cache / "foodvision" / Path(sample).name).symlink_to(sample)
    return {**nowhere, **local, "XDG_CACHE_HOME": str(cache)}


@pytest.fixture(scope="session")
def foodvision(offline):
    "A function that runs `foodvision` with some words, without a network"
    return lambda *words, **options: run("foodvision", *words, **offline, **options)


@pytest.fixture(scope="session")
def copy_of_sources(tmp_path_factory):
    "A function that copies what git tracks or would track to a new folder, so that a test can build in it"
    listed = succeed("git", "ls-files", "-coz", "--exclude-standard").stdout.split("\0")
    names = [name for name in listed if name and (ROOT / name).is_file()]

    def copy() -> Path:
        folder = tmp_path_factory.mktemp("sources")
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        return folder

    return copy


@pytest.fixture(scope="session")
def built_site(copy_of_sources) -> Path:
    "A copy of the sources in which the site has been built; the faults that the build found are in `faults.txt`"
    folder = copy_of_sources()
    done = run(
        "python", "-m", "documentation.build", cwd=folder, timeout=900, PYTHONPATH=str(folder)
    )
    assert (folder / "_site" / "index.html").exists(), done.stdout + done.stderr
    found = [line for line in done.stdout.splitlines() if line.startswith("fault: ")]
    assert bool(done.returncode) == bool(found), done.stderr
    (folder / "faults.txt").write_text("\n".join(found))
    return folder


def pytest_terminal_summary(terminalreporter):
    "The measures of the notebooks, which `tests/measures.py` describes"
    for report in terminalreporter.stats.get("passed", []):
        if text := dict(report.user_properties).get("measures"):
            terminalreporter.section("how the notebooks read")
            terminalreporter.write_line(text)
