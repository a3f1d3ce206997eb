"The wheel and the source archive are complete, reproducible, and work on their own"

import os
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Collection
from email import message_from_string
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ROOT, run, succeed
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def build(folder: Path) -> tuple[Path, Path]:
    "Wheel and source archive of the sources in `folder`, dated as SOURCE_DATE_EPOCH says"
    succeed(
        "python", "-m", "build", "--outdir", folder / "dist", folder, SOURCE_DATE_EPOCH="1767225600"
    )
    return next(folder.glob("dist/*.whl")), next(folder.glob("dist/*.tar.gz"))


@pytest.fixture(scope="module")
def built(copy_of_sources) -> tuple[Path, Path]:
    return build(copy_of_sources())


def test_same_bytes_every_time(built, copy_of_sources):
    again = build(copy_of_sources())
    for first, second in zip(built, again, strict=True):
        assert first.name == second.name and first.read_bytes() == second.read_bytes(), first.name


def test_wheel_holds_the_package_and_nothing_else(built):
    names = zipfile.ZipFile(built[0]).namelist()
    modules = {f"foodvision/{path.name}" for path in (ROOT / "foodvision").glob("*.py")}
    food101 = {
        f"foodvision/pretrained/food101/{path.name}"
        for path in (ROOT / "foodvision" / "pretrained" / "food101").iterdir()
    }
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in ("page", "recipes", "templates", "vendored")
        for path in (ROOT / "foodvision" / folder).rglob("*")
        if path.is_file()
    }
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == modules | food101 | files | {
        "foodvision/py.typed",
        "foodvision/reference_results.json",
    }
    assert {
        "foodvision/pretrained/food101/model.tflite",
        "foodvision/pretrained/food101/README.md",
    } <= food101
    assert max(path.stat().st_size for path in built) < 15e6, (
        "the wheel and the source archive stay below 15 MB"
    )
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_source_archive_builds_and_carries_no_notebooks(built):
    names = {name.partition("/")[2] for name in tarfile.open(built[1]).getnames()}
    assert {
        "setup.py",
        "settings.ini",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "foodvision/run.py",
    } <= names
    assert not [
        name
        for name in names
        if name.startswith(("nbs", "tests", "documentation")) or name.endswith(".ipynb")
    ]


def test_metadata_is_whole(built):
    succeed("twine", "check", "--strict", *built)
    with zipfile.ZipFile(built[0]) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith("METADATA"))
        facts = message_from_string(wheel.read(name).decode())
    assert facts["License-Expression"] == "Apache-2.0"
    assert {"dev", "offline", "app", "export", "audit"} <= set(facts.get_all("Provides-Extra"))
    assert len(facts.get_all("Project-URL")) >= 4 and facts["Requires-Python"] == ">=3.11"
    assert "/raw/" in facts.get_payload() or "![" not in facts.get_payload(), (
        "pictures need absolute addresses"
    )
    bounded = [
        need
        for need in facts.get_all("Requires-Dist")
        if not any(sign in need for sign in (">=", "=="))
    ]
    assert not bounded, f"without a lower bound: {bounded}"


def requirements(package: metadata.Distribution, *extras: str) -> dict[str, metadata.Distribution]:
    "What a package needs, and what that needs in turn: installed distributions by their names"
    found, asked, todo = {}, set(), [(package, extras)]
    while todo:
        one, wanted = todo.pop()
        for need in map(Requirement, one.requires or ()):
            where = [{"extra": extra} for extra in ("", *wanted)]
            if need.marker and not any(map(need.marker.evaluate, where)):
                continue
            name = canonicalize_name(need.name)
            if (name, *need.extras) not in asked:
                asked.add((name, *need.extras))
                found[name] = metadata.distribution(name)
                todo.append((found[name], sorted(need.extras)))
    return found


def link(packages: Collection[metadata.Distribution], folder: Path):
    "Links in a folder to installed packages; a folder that several of them share becomes one of links"
    owners = Counter(top for one in packages for top in {file.parts[0] for file in one.files})
    for package in packages:
        for file in package.files:
            part = Path(*file.parts[: 1 if owners[file.parts[0]] == 1 else 2])
            if part.parts[0] not in ("..", "__pycache__") and not (folder / part).exists():
                (folder / part).parent.mkdir(exist_ok=True)
                (folder / part).symlink_to(package.locate_file(part))


@pytest.fixture(scope="module")
def clean_environment(built, tmp_path_factory) -> Path:
    """A fresh virtual environment with the wheel and its offline extra, and nothing of the developers'.

    What the wheel says it needs is linked from this environment: no download, and compiled already.
    """
    folder = tmp_path_factory.mktemp("clean") / "venv"
    succeed(sys.executable, "-m", "venv", folder)
    pip = folder / "bin" / "pip"
    succeed(pip, "install", "--quiet", "--no-deps", "--no-index", built[0])
    [site] = folder.glob("lib/python*/site-packages")
    [ours] = metadata.distributions(name="foodvision", path=[str(site)])
    link(requirements(ours, "offline").values(), site)
    return folder


def in_clean_environment(
    environment: Path, *command, cwd: Path, **options
) -> subprocess.CompletedProcess:
    "Run a program of the clean environment, far from the sources"
    path = f"{environment / 'bin'}{os.pathsep}{os.defpath}"
    return run("/usr/bin/env", "-u", "PYTHONPATH", f"PATH={path}", *command, cwd=cwd, **options)


def test_works_without_the_developers_tools(clean_environment, tmp_path):
    code = (
        "import importlib, importlib.util, pkgutil, foodvision\n"
        "for name in ('nbdev', 'execnb', 'IPython', 'pytest'): assert not importlib.util.find_spec(name), name\n"
        "for found in pkgutil.iter_modules(foodvision.__path__): importlib.import_module('foodvision.' + found.name)\n"
        "print(foodvision.__file__)\n"
    )
    done = in_clean_environment(clean_environment, "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert str(clean_environment) in done.stdout


def test_trains_on_the_sample_where_only_the_wheel_is(clean_environment, tmp_path, offline):
    if not (ROOT / "foodvision" / "cli.py").exists():
        pytest.skip("there are no commands yet")
    options = "--data sample --backbone EfficientNetLite0 --image-size 64 --feature-epochs 1 --fine-tune-epochs 0"
    command = ["foodvision", "train", *options.split(), "--run", "first"]
    trained = in_clean_environment(clean_environment, *command, cwd=tmp_path, **offline)
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "first" / "model.keras").exists()
