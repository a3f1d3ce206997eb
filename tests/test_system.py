"Machines as they are: closed streams, readers that leave, locales, no home folder, folders that cannot be written"

import os
import subprocess

import pytest
from conftest import BIN, ROOT
from PIL import Image


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    "A function that runs a line of bash in a folder with photos; TensorFlow is not needed for any of them"
    folder = tmp_path_factory.mktemp("machine")
    longest = b"soup/" + "🍜".encode() * 62 + b".jpg"  # 252 bytes: a file name has at most 255
    for name in (b"soup/cr\xe8me.jpg", longest, b"tea/a.jpg", b"tea/b.jpg"):
        path = os.fsencode(folder) + b"/photos/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            Image.effect_noise((64, 48), 90).convert("RGB").save(file, "JPEG")

    def call(line, **environment):
        env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment}
        env = {name: value for name, value in env.items() if value is not None}
        env |= {"PYTHONPATH": str(ROOT)}
        env.pop("PYTHONUNBUFFERED", None)
        words = ["bash", "-o", "pipefail", "-c", line]
        done = subprocess.run(words, cwd=folder, env=env, timeout=300, capture_output=True)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return call


PREDICT = "foodvision predict food101 photos/tea"
STREAMS = {  # what is run: exit code, what stdout begins with, what stderr holds
    f"{PREDICT} >&-": (0, "", ""),
    f"{PREDICT} --explain pictures 2>&-": (0, "photos/tea/a.jpg: ", ""),
    "foodvision info nowhere 2>&-": (2, "", ""),
    "foodvision info nowhere >&- <&-": (2, "", "foodvision: No run folder at nowhere"),
    f"{PREDICT} | true": (141, "", ""),
    "foodvision --help | true": (0, "", ""),
    f"{PREDICT} --csv >/dev/full": (1, "", "foodvision: No space left on device"),
    "foodvision predict nowhere x 2>/dev/full": (2, "", ""),
}


@pytest.mark.parametrize("line", STREAMS)
def test_streams(shell, line):
    code, said, errors = STREAMS[line]
    actual = shell(line)
    assert actual[0] == code and actual[1].startswith(said) and bool(said) == bool(actual[1])
    assert errors in actual[2] and actual[2].count("\n") == bool(errors), actual[2]


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", [{"LC_ALL": "C.UTF-8"}, ASCII], ids=["UTF-8", "ASCII"])
@pytest.mark.parametrize("options", ["--json", "--csv --explain pictures"])
def test_names_in_any_locale(shell, locale, options):
    code, said, errors = shell(f"foodvision predict food101 photos/soup {options}", **locale)
    assert (code, "Traceback" in errors) == (0, False), errors
    assert r"cr\xe8me.jpg" in said.replace("\\\\", "\\")


def test_no_home(shell):
    "A temporary folder takes the place of the cache, and a line says so; Matplotlib has nothing to add"
    unset = dict.fromkeys(["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"])
    code, _, errors = shell(f"{PREDICT} --explain pictures", HOME=os.devnull, **unset)
    assert (code, errors.count("\n")) == (0, 1) and "is used until this ends" in errors, errors
