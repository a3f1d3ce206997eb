"One training by several devices and by several processes: real ones, killed and resumed, against one that nothing disturbed"
import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import BIN, ROOT, run
from test_failures import make_backbone, make_photos

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
SETTINGS = ["--weights", "none", "--image-size", "32", "--batch-size", "6", "--feature-epochs", "2", "--fine-tune-epochs", "20",
            "--early-stopping-patience", "100", "--fine-tune-learning-rate", "3e-3", "--dropout", "0", "--no-head-search",
            "--backup-steps", "1", "--validation-fraction", "0.375"]  # fmt: skip
TWO_PROCESSORS = (
    "import sys, tensorflow as tf; [cpu, *_] = tf.config.list_physical_devices('CPU');"
    "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2);"
    "from foodvision.cli import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    "Words of a short training: a batch of six divides by two workers and not by four, nine validation photos not by six"
    folder = tmp_path_factory.mktemp("distribution")
    photos, backbone = make_photos(folder / "photos"), make_backbone(folder / "tiny.keras")
    return ["train", "--data", photos, "--backbone", backbone, *SETTINGS, "--no-evaluate"]


@pytest.fixture(scope="module")
def start(offline):
    "A function that starts a command as a process; what a failed test leaves running is ended"
    started = []

    def start(*command):
        environment = {**os.environ, **offline, "TF_CPP_MIN_LOG_LEVEL": "3"}
        started.append(subprocess.Popen([str(word) for word in command], env=environment, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE))  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="module")
def alone(words, start, tmp_path_factory):
    "A run by one process"
    folder = tmp_path_factory.mktemp("alone") / "run"
    _, errors = (process := start(BIN / "foodvision", *words, "--run", folder)).communicate(timeout=300)
    assert process.returncode == 0, errors
    return folder


def rows(folder):
    path = folder / "history.json"
    return json.loads(path.read_text()) if path.exists() else []


def assert_close_runs(one, other):
    "The same weights and scores but for what adding floats in another order does"
    from foodvision.callbacks import read_tensorboard
    from foodvision.model import load_model

    weights = [load_model(folder / "model.keras").get_weights() for folder in (one, other)]
    assert max(np.abs(a - b).max() for a, b in zip(*weights, strict=True)) < 1e-5
    for mine, others in zip(rows(one), rows(other), strict=True):
        for name in ("step", "loss", "val_loss", "accuracy", "val_accuracy"):
            assert mine[name] == pytest.approx(others[name], abs=1e-4), (name, mine, others)
    events = [event[:3] for event in read_tensorboard(other / "tensorboard")]
    assert len(events) == len(set(events)), "a step stands twice in TensorBoard"


def children(pid):
    "Processes that a process started, in the order of their starts; those that keep track of others left out"
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def test_one_of_four_is_killed_and_two_carry_on(words, start, alone, tmp_path):
    folder = tmp_path / "run"
    process = start(BIN / "foodvision", *words, "--run", folder, "--workers", 4)
    while not rows(folder) and process.poll() is None:
        time.sleep(0.02)
    workers = children(process.pid)
    while len(rows(folder)) < 3 and process.poll() is None:
        time.sleep(0.01)
    assert len(workers) == 4 and process.poll() is None
    os.kill(workers[2], signal.SIGKILL)
    killed = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and time.monotonic() - killed < 45, errors
    last = errors.strip().splitlines()[-1]
    assert last == f"foodvision: Worker 2 of 4 was lost. Carry on with: foodvision train --resume {folder} --workers 4"
    assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")], "left behind"
    assert not json.loads((folder / "config.json").read_text())["complete"]

    process = start(BIN / "foodvision", "train", "--resume", folder, "--workers", 2, "--no-evaluate")
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and "Traceback" not in errors, errors
    assert said.count("Run: ") == 1, "only one worker speaks"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "history.json", "model.keras", "tensorboard"]
    writers = {path.name.split(".")[-3] for path in (folder / "tensorboard" / "train").iterdir()}
    assert len(writers) == 2, "one process of each attempt has written logs"
    assert json.loads((folder / "config.json").read_text())["distribution"] == {"devices": 1, "workers": 2}
    assert_close_runs(alone, folder)


def test_two_devices_stopped_and_one_carries_on(words, start, alone, tmp_path):
    process = start(BIN / "python", "-c", TWO_PROCESSORS, *words, "--run", tmp_path / "run", "--devices", "all")
    while len(rows(tmp_path / "run")) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert json.loads((tmp_path / "run" / "config.json").read_text())["distribution"] == {"devices": 2, "workers": 1}
    process = start(BIN / "foodvision", "train", "--resume", tmp_path / "run", "--no-evaluate")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_close_runs(alone, tmp_path / "run")


def test_workers_with_other_settings_are_told(words, start, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
    joining = ["--run", tmp_path / "run", "--coordinator", place, "--workers", 2, "--worker-index"]
    first = start(BIN / "foodvision", *words, *joining, 0)
    other = start(BIN / "foodvision", *words, "--batch-size", 8, *joining, 1)
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda process: process.communicate(timeout=120)[1], (first, other)))
    wanted = "foodvision: The workers do not fit together: batch_size is 8 on worker 1 and 6 on worker 0"
    assert [errors.strip() for errors in ended] == [wanted] * 2
    assert (first.returncode, other.returncode) == (1, 1) and not (tmp_path / "run").exists()


def test_calls_that_cannot_work_are_refused_at_once(words, offline, tmp_path):
    from foodvision.cli import main

    for wrong in (["--workers", 0], ["--workers", 2, "--coordinator", "nowhere"],
                  ["--workers", 2, "--coordinator", "localhost:1", "--worker-index", 2]):  # fmt: skip
        assert main([str(word) for word in [*words, "--run", tmp_path / "run", *wrong]]) == 2
    assert not (tmp_path / "run").exists()


EXAMPLES = ROOT / "nbs" / "tutorials" / "cluster"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.sh")), ids=lambda path: path.name)
def test_shell_examples_are_sound(path):
    done = run("bash", "-n", path)
    assert done.returncode == 0, done.stderr
    options = set(re.findall(r"--[a-z][a-z-]+", path.read_text()))
    asked = run("foodvision", "train", "--help").stdout
    slurm = {"--nodes", "--ntasks-per-node", "--gpus-per-task", "--cpus-per-task", "--time", "--job-name", "--signal", "--requeue",
             "--kill-on-bad-exit"}  # fmt: skip
    assert not {option for option in options - slurm if option not in asked}, "options that no command has"


def test_kubernetes_example_is_sound():
    [path] = EXAMPLES.glob("*.yaml")
    kinds = {item["kind"]: item for item in yaml.safe_load_all(path.read_text())}
    assert set(kinds) == {"Service", "Job"}
    job, service = kinds["Job"]["spec"], kinds["Service"]["spec"]
    assert job["completionMode"] == "Indexed" and job["completions"] == job["parallelism"]
    assert service["clusterIP"] == "None" and service["selector"] == {"job-name": kinds["Job"]["metadata"]["name"]}
    pod = job["template"]["spec"]
    assert pod["subdomain"] == kinds["Service"]["metadata"]["name"] and pod["restartPolicy"] == "Never"
    [container] = pod["containers"]
    script = container["args"][0]
    assert f"--workers {job['parallelism']}" in script and "$(JOB_COMPLETION_INDEX)" not in script
    asked = run("foodvision", "train", "--help").stdout
    assert all(word in asked for word in re.findall(r"--[a-z][a-z-]+", script))
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in pod["volumes"]}
