"The package is what the notebooks export, and its modules import only from earlier chapters"

import ast
import filecmp
import functools
import os
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import APPENDIX, CORE, NOTEBOOKS, ROOT, WITHOUT_TENSORFLOW, run, succeed

# Arrows that would make one part carry another: the part, and what it must not know.
FORBIDDEN = {
    "predictor": "pipeline callbacks training",
    "inference": "pipeline callbacks training",
    "metrics": "training",
    "export": "training",
    # The app is a face for inference; `errors` holds the error that every command shows, `drawing` draws its examples,
    # `preprocessing` says which part of a photo the model sees.
    "app": " ".join(
        {*CORE, *APPENDIX}
        - {
            "errors",
            "guard",
            "inference",
            "preprocessing",
            "run",
            "drawing",
            "similar",
            "templates",
        }
    ),
}
MODULES = sorted(p.stem for p in (ROOT / "foodvision").glob("*.py") if not p.stem.startswith("_"))


@functools.cache
def imports(module: str, top_level: bool = False) -> set[str]:
    "Full names of the modules that `module` imports, anywhere in it or at its top level alone"
    tree = ast.parse((ROOT / "foodvision" / f"{module}.py").read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (
                ("foodvision" + (f".{node.module}" if node.module else ""))
                if node.level
                else node.module
            )
            found |= (
                {f"{base}.{alias.name}" for alias in node.names} if base == "foodvision" else {base}
            )
    return found


@cache
def own_imports(module: str) -> set[str]:
    "Names of the project's modules that `module` imports"
    return {name.split(".")[1] for name in imports(module) if name.startswith("foodvision.")} & set(
        MODULES
    )


@functools.cache
def known(module: str) -> set[str]:
    "The project's modules that `module` imports, and those that they import"
    direct = own_imports(module)
    return direct.union(*map(known, direct))


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_from_earlier_chapters(module):
    assert module in CORE or module in APPENDIX, (
        f"give {module} a line in the sidebar of nbs/_quarto.yml"
    )
    direct = own_imports(module)
    if module in CORE and module != "cli":
        earlier = set(CORE[: CORE.index(module)])
        assert direct & set(CORE) <= earlier, "imports a later chapter"
        for page in direct - set(CORE):
            assert known(page) <= earlier | set(APPENDIX), (
                f"imports {page} of the appendix, which imports a later chapter"
            )
    assert module not in known(module), "imports itself, by way of another module"
    assert not direct & set(FORBIDDEN.get(module, "").split())
    assert module == "cli" or not {"app", "cli"} & direct
    never = {"benchmarks", "tests", "documentation", "nbdev", "IPython"}
    assert not never & {name.split(".")[0] for name in imports(module)}


def test_every_module_is_one_chapter():
    for module in MODULES:
        first = (ROOT / "foodvision" / f"{module}.py").read_text(encoding="utf-8").splitlines()
        source = next(line.split("../nbs/")[1] for line in first if "File to edit: ../nbs/" in line)
        folder, _, name = source.rstrip(".").rpartition("/")
        name = (
            name if folder == "appendix" else name.split("_", 1)[1]
        )  # a chapter has a number, a page of the appendix has none
        assert name == f"{module}.ipynb", f"{module}.py comes from {source}"


def test_app_loads_its_toolkit_only_when_it_starts():
    heavy = {
        name
        for name in imports("app", top_level=True)
        if name.split(".")[0] not in sys.stdlib_module_names
    }
    assert heavy <= {
        f"foodvision.{name}"
        for name in "errors guard inference preprocessing run similar templates".split()
    }
    code = "import sys, foodvision.app; print(*sorted({'gradio', 'fastapi', 'uvicorn', 'huggingface_hub'} & set(sys.modules)))"
    assert succeed("python", "-c", code).stdout.strip() == ""


@pytest.mark.parametrize("module", ["run", "drawing", "predictor", "inference", "cli"])
def test_light_modules_do_not_load_tensorflow(module):
    if module not in MODULES:
        pytest.skip(f"there is no {module} yet")
    heavy = {"tensorflow", "keras", "matplotlib", "sklearn"}
    code = f"import sys, foodvision.{module}; print(*sorted({heavy} & set(sys.modules)))"
    assert succeed("python", "-c", code).stdout.strip() == ""


BUILD = """
from foodvision import backbones, model, precision
classifier = model.build_model("EfficientNetLite0", 3, 64, weights="none", policy="auto")
model.unfreeze(classifier)
precision.make_reproducible(1)
assert classifier.output.shape == (None, 3) and model.parameter_counts(classifier)["frozen"] == 86_592
assert precision.device_summary()["policy"] == "float32" and "tensorflow" not in sys.modules
"""


def test_models_are_built_without_tensorflow():
    "On another backend of Keras, where TensorFlow is not installed"
    succeed("python", "-c", WITHOUT_TENSORFLOW + BUILD, cold=True, KERAS_BACKEND="jax")


def test_importing_changes_nothing_outside():
    code = (
        "import logging, os, warnings, importlib\n"
        "state = lambda: (dict(os.environ), logging.root.level, list(logging.root.handlers), list(warnings.filters))\n"
        "import numpy, matplotlib, tensorflow, keras, sklearn.metrics, tensorflow_datasets\n"
        "before, policy = state(), keras.config.dtype_policy().name\n"
        f"[importlib.import_module('foodvision.' + name) for name in {MODULES}]\n"
        "assert keras.config.dtype_policy().name == policy\n"
        "assert state() == before, (before, state())\n"
    )
    succeed("python", "-W", "default", "-c", code)


@pytest.fixture(scope="module")
def exported(copy_of_sources) -> Path:
    "A copy of the sources after nbdev_export and nbdev_clean"
    folder = copy_of_sources()
    succeed("nbdev_export", cwd=folder)
    succeed("nbdev_clean", cwd=folder)
    return folder


def differing(folder: Path, pattern: str) -> list[str]:
    "Files that match the pattern in either place and are not the same in both"
    names = {
        path.relative_to(top)
        for top in (ROOT, folder)
        for path in top.glob(pattern)
        if ".ipynb_checkpoints" not in path.parts
    }
    _, changed, missing = filecmp.cmpfiles(ROOT, folder, sorted(map(str, names)), shallow=False)
    return changed + missing


def test_package_is_what_the_notebooks_export(exported):
    changed = differing(exported, "foodvision/*.py") + differing(exported, "pyproject.toml")
    assert not changed, f"run `make export` and commit: {changed}"


def test_notebooks_are_clean(exported):
    changed = differing(exported, "nbs/**/*.ipynb")
    assert not changed, f"run `make export` (nbdev_clean) and commit: {changed}"


def test_ruff_finds_nothing():
    succeed(
        "ruff", "check", "--no-cache", "foodvision", "documentation", "recipes", "tests", "setup.py"
    )


def test_everything_is_formatted():
    "By `ruff format`, notebooks too"
    sources = ("nbs", "documentation", "recipes", "tests", "benchmarks", "setup.py")
    succeed("ruff", "format", "--check", "--no-cache", *sources)


def test_types_hold_and_a_wrong_one_is_noticed(tmp_path):
    "Users' type checkers read the package's types because of py.typed, so they have to be true"
    assert (ROOT / "foodvision" / "py.typed").exists()
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from foodvision.run import Config\n\nConfig(image_size='large')\n")
    done = run("mypy", "--cache-dir", tmp_path / "cache", "foodvision", wrong)
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(errors) == 1 and done.returncode == 1, done.stdout + done.stderr
    assert wrong.name in errors[0] and "image_size" in errors[0]


def test_sidebar_names_every_notebook():
    text = (ROOT / "nbs" / "_quarto.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ *- (\S+\.ipynb)$", text.partition("  sidebar:")[2], re.M)
    assert sorted(listed) == sorted(str(name) for name in NOTEBOOKS)


def test_nothing_of_one_machine_in_the_sources():
    home = os.path.expanduser("~")
    words = [str(ROOT), *([f"{home}/"] if len(home) > 4 else [])]
    listed = run("git", "grep", "-nIF", *[part for word in words for part in ("-e", word)])
    assert not listed.stdout, listed.stdout[:2000]
