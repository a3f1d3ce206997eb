"Every benchmark runs from end to end on a few drawn photos and writes its results; the numbers are not tested"

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import pytest
from conftest import BIN, ROOT, WITHOUT_TENSORFLOW, run, succeed

from foodvision.drawing import draw_dish

NAMES = [
    "stage1",
    "pipeline",
    "startup",
    "growth",
    "peers",
    "recipe",
    "ablation",
    "audit",
    "fit",
    "look_alikes",
    "epochs",
    "feeding",
    "prediction",
]
DECIDING = {
    "ablation": 12,
    "audit": 12,
    "fit": 20,
    "look_alikes": 12,
    "epochs": 11,
}  # a default is decided by these; training photos left
TINY_BACKBONE = (
    "import sys, keras; keras.utils.set_random_seed(0); pixels = keras.Input((32, 32, 3), dtype='uint8');"
    "keras.Model(pixels, keras.layers.Conv2D(4, 3, strides=4)(keras.layers.Rescaling(1 / 255)(pixels))).save(sys.argv[1])"
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    "Photos in the layout of `train/` and `test/`, and a backbone that computes nothing to speak of"
    folder = tmp_path_factory.mktemp("benchmarks")
    for part, numbers in (("train", range(12)), ("test", range(100, 104))):
        for name in ("pizza", "sushi"):
            (folder / "photos" / part / name).mkdir(parents=True)
            for number in numbers:
                draw_dish(name, number, (64, 48)).save(
                    folder / "photos" / part / name / f"{number}.jpg"
                )
    shutil.copytree(folder / "photos", folder / "spoilt")
    for photo in folder.glob("spoilt/test/*/*"):
        photo.write_bytes(b"no photo")
    succeed("python", "-c", TINY_BACKBONE, folder / "tiny.keras")
    return folder


@pytest.fixture(scope="module")
def finished(inputs, offline):
    "What running each benchmark gave, two of them at a time"
    data = ["--data", inputs / "photos", "--backbone", inputs / "tiny.keras", "--image-size", 32]
    words = {**dict.fromkeys(NAMES, data), "prediction": [inputs / "run"]}
    words |= dict.fromkeys(DECIDING, [data[0], inputs / "spoilt", *data[2:]])
    succeed(
        "foodvision",
        "train",
        *data,
        "--feature-epochs",
        20,
        "--fine-tune-epochs",
        0,
        "--run",
        inputs / "run",
        **offline,
    )
    with ThreadPoolExecutor(2) as workers:
        running = {name: workers.submit(run, "foodvision", "bench", name, *words[name], "--quick", "--out", inputs / "out", **offline)
                   for name in NAMES}  # fmt: skip
        yield running


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_writes_table_figures_and_picture(name, finished, inputs):
    done = finished[name].result()
    assert done.returncode == 0, done.stderr[-3000:]
    content = json.loads((inputs / "out" / f"{name}.json").read_text())
    assert content["tables"] and all(len(table["rows"]) > 1 for table in content["tables"])
    for table in content["tables"]:
        for row in table["rows"]:
            assert (
                row["low"] <= row["median"] <= row["high"]
                and len(row["values"]) == content["settings"]["repeats"] == 1
            )
            same = (
                row["more"]["mean"] == 0
                if table["better"] == "more"
                else row["times"]["median"] == 1
            )
            assert row["name"] != table["baseline"] or same
    text = (inputs / "out" / f"{name}.md").read_text()
    assert text in done.stdout and "whose figures mean nothing" in text
    assert (inputs / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert str(inputs / "out" / f"{name}.json") in done.stdout.splitlines()[-1]
    assert str(inputs) not in json.dumps({**content, "settings": None}), "a place on one machine"


@pytest.mark.parametrize("name", DECIDING)
def test_what_a_default_is_decided_by_reads_no_test_photos(name, finished, inputs):
    "Its test photos are none at all, so reading one would have ended it"
    assert finished[name].result().returncode == 0
    content = json.loads((inputs / "out" / f"{name}.json").read_text())
    assert content["data"]["test"] == 0 and content["data"]["train"] == DECIDING[name]
    assert "test photos" not in (inputs / "out" / f"{name}.md").read_text().replace(
        "No test photo", ""
    )
    assert [table["title"] for table in content["tables"] if "validation photos" in table["title"]]


def test_a_default_is_decided_on_photos_that_no_round_trains_on(inputs):
    code = (
        "import sys, measure; from foodvision.food101 import load_data\n"
        "data = load_data(sys.argv[1]); whole = set(data.train.names)\n"
        "for most, held in ((0, 4), (2, 2), (100, 5)):\n"
        "    left, decided_on = measure.to_decide_on(data, most)\n"
        "    assert (left.train.labels == 0).sum() == 10 - held and (decided_on.labels == 1).sum() == held, held\n"
        "    assert not set(left.train.names) & set(decided_on.names) and whole == {*left.train.names, *decided_on.names}\n"
        "    assert not {*decided_on.names} & {*data.validation.names, *data.test.names} and not len(left.test)\n"
        "    assert list(decided_on.names) == list(measure.to_decide_on(data, most)[1].names)\n"
        "    rounds = [measure.some_of(left, photos=3, seed=seed) for seed in range(9)]\n"
        "    assert not {name for one in rounds for name in one.train.names} & set(decided_on.names)\n"
    )
    succeed("python", "-c", code, inputs / "photos", cwd=ROOT / "benchmarks")


@pytest.mark.skipif(not find_spec("jax"), reason="JAX comes with the extra `dev`")
def test_the_gpu_benchmark_runs_on_a_processor_without_tensorflow(inputs):
    "As on a machine that has JAX alone: importing TensorFlow ends it"
    code = "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    words = ["--backbones", inputs / "tiny.keras", "--weights", "none", "--quick"]
    succeed("python", "-c", WITHOUT_TENSORFLOW + code, ROOT / "benchmarks/gpu.py", *words, "--out", inputs / "out", cold=True)  # fmt: skip
    content = json.loads((inputs / "out" / "gpu.json").read_text())
    policies = {"float32", "float32 as TF32", "mixed_float16", "mixed_bfloat16"}
    measured = {(row["policy"], row["mode"]) for row in content["rows"]}
    assert measured == {(policy, mode) for policy in policies for mode in ("inference", "head only", "all layers")}  # fmt: skip
    assert all(row["photos_a_second"] > 0 and row["gigaflops_a_photo"] > 0 for row in content["rows"])  # fmt: skip
    losses = [last for _, last in content["agreement"]["losses"].values()]
    assert len(losses) == 4 and max(losses) - min(losses) < 0.1
    assert str(inputs) not in json.dumps(content), "a place on one machine"
    assert content["device"]["kind"] == "cpu" and not content["left_out"]
    table = (inputs / "out" / "gpu.md").read_text()
    assert table.count("mixed_float16") == 3 + 1 and "decodes" in table


def test_bench_names_what_there_is(offline):
    listed = succeed("foodvision", "bench", "--help", **offline).stdout
    assert all(name in listed for name in [*NAMES, "tutorial"])
    unknown = run("foodvision", "bench", "speed", **offline)
    assert (
        unknown.returncode == 2
        and len(unknown.stderr.splitlines()) == 1
        and "pipeline" in unknown.stderr
    )
    assert "--repeats" in succeed("foodvision", "bench", "pipeline", "--help", **offline).stdout
    assert run("foodvision", "bench", "pipeline", "--no-such-option", **offline).returncode == 2


def test_bench_without_the_sources_says_where_they_are(tmp_path, offline):
    os.symlink(ROOT / "foodvision", tmp_path / "foodvision")
    code = "import sys; sys.path.insert(0, '.'); from foodvision.cli import main; sys.exit(main(['bench', 'pipeline']))"
    done = run("python", "-c", code, cwd=tmp_path, **offline)
    assert (
        done.returncode == 2 and "git clone" in done.stderr and len(done.stderr.splitlines()) == 1
    )


def test_measuring_takes_turns_and_compares_within_a_round():
    code = (
        "import measure; order = []\n"
        "call = lambda name, values: lambda: order.append(name) or values.pop(0)\n"
        "values = measure.in_turn({'a': call('a', [4.0, 8.0, 6.0]), 'b': call('b', [2.0, 2.0, 1.0])}, 3)\n"
        "assert ''.join(order) == 'abbaab', order\n"
        "import argparse; report = measure.Report('x', 'X', argparse.Namespace(out='.', repeats=3))\n"
        "rows = report.table('t', 'seconds', values, 'a')\n"
        "assert rows['b']['times'] == {'median': 4, 'low': 2, 'high': 6} and rows['a']['median'] == 6, rows\n"
        "better = report.table('t', 'photos/s', values, 'a', 'higher')['b']['times']\n"
        "assert better == {'median': 0.25, 'low': 0.1667, 'high': 0.5}, better\n"
        "more = report.table('t', '%', values, 'a', 'more')['b']['more']\n"
        "assert more['mean'] == -4.333 and more['low'] < -6 and more['high'] > -3, more\n"
        "report.target('fast', 4, at_least=3); report.target('small', 4, at_most=3)\n"
        "assert [target['met'] for target in report.content['targets']] == [True, False]\n"
    )
    succeed("python", "-c", code, cwd=ROOT / "benchmarks")


def test_a_process_is_measured_and_its_failure_told():
    code = (
        "import measure, sys\n"
        "words = [sys.executable, '-c', 'import time; x = bytearray(10**8); time.sleep(0.3)']\n"
        "found = measure.process(words)\n"
        "assert found['seconds'] > 0.3 and 100 < found['megabytes'] < 300 and found['result'] is None, found\n"
        "measure.process([sys.executable, '-c', 'raise ValueError(\"no such thing\")'])\n"
    )
    done = run("python", "-c", code, cwd=ROOT / "benchmarks")
    assert (
        done.returncode == 1
        and "ended with exit code 1" in done.stderr
        and "no such thing" in done.stderr
    )


@pytest.mark.skipif(not shutil.which("ruff", path=BIN), reason="ruff comes with the extra `dev`")
def test_ruff_finds_nothing_in_the_benchmarks():
    succeed("ruff", "check", "--no-cache", "benchmarks")
