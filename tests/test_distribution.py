"One training by several devices and by several processes: real ones, killed and resumed, compared with one process"

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import BIN, ROOT, run
from conftest import start as start_process
from test_failures import make_backbone, make_photos

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of Keras
SETTINGS = ["--image-size", "32", "--batch-size", "6", "--feature-epochs", "2", "--fine-tune-epochs", "12",
            "--fine-tune-learning-rate", "3e-3", "--dropout", "0.3", "--no-tune-head",
            "--checkpoint-steps", "1", "--validation-fraction", "0.375", "--class-weights", "balanced"]  # fmt: skip
TWO_PROCESSORS = (
    "import sys, tensorflow as tf; [cpu, *_] = tf.config.list_physical_devices('CPU');"
    "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2);"
    "from foodvision.cli import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    "Words of a short training: a batch of six divides by two workers and not by four, fourteen validation photos not by six"
    folder = tmp_path_factory.mktemp("distribution")
    photos, backbone = make_photos(folder / "photos"), make_backbone(folder / "tiny.keras")
    return ["train", "--data", photos, "--backbone", backbone, *SETTINGS, "--no-evaluate"]


@pytest.fixture(scope="module")
def start(offline):
    "A function that starts `foodvision` as a process; what a failed test leaves running is ended"
    started = []

    def start(*command):
        started.append(start_process("foodvision", *command, **offline))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="module")
def alone(words, start, tmp_path_factory):
    "A run by one process"
    folder = tmp_path_factory.mktemp("alone") / "run"
    _, errors = (process := start(*words, "--run", folder)).communicate(timeout=300)
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
    return [
        int(child) for child in listed if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    ]


@pytest.fixture(scope="module")
def private():
    "Whether this system allows a process a network of its own"
    code = "from foodvision.launching import enter_private_network; enter_private_network()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def listening(pid="self"):
    "Ports that somebody listens on, on the network of a process, by the number of the socket"
    found = {}
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            _, address, _, state, *_, inode = line.split()[:10]
            if state == "0A":
                found[inode] = int(address.rpartition(":")[2], 16)
    return found


def sockets(pid):
    "Numbers of the sockets that a process has open"
    links = [
        os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if os.path.lexists(link)
    ]
    return {
        link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:")
    }


def addresses():
    "Every IPv4 and IPv6 address of this machine"
    four = set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", Path("/proc/net/fib_trie").read_text()))
    six = Path("/proc/net/if_inet6")
    lines = six.read_text().splitlines() if six.exists() else []
    return four | {
        ":".join(re.findall("....", line.split()[0]))
        for line in lines
        if not line.startswith("fe80")
    }


def assert_out_of_reach(workers):
    "TensorFlow's servers of some processes run, and nobody outside them finds any of their ports"
    inside, outside = listening(workers[0]), listening()
    assert len(
        [number for worker in workers for number in sockets(worker) if number in inside]
    ) >= len(workers)
    assert not [number for worker in workers for number in sockets(worker) if number in outside]
    for port in set(inside.values()) - set(outside.values()):
        for address in addresses():
            with pytest.raises(OSError, match="refused|unreachable"):
                socket.create_connection((address, port), timeout=5)
    open_to_others = re.findall(
        r"\|-- (\S+)\n\s+/32 host LOCAL", Path(f"/proc/{workers[0]}/net/fib_trie").read_text()
    )
    assert set(open_to_others) == {"127.0.0.1"}


def test_one_of_four_is_killed_two_are_stopped_and_one_carries_on(
    words, start, alone, private, tmp_path
):
    folder, more = tmp_path / "run", [] if private else ["--open-ports"]
    process = start(*words, "--run", folder, "--workers", 4, *more)
    while not rows(folder) and process.poll() is None:
        time.sleep(0.02)
    [group] = children(process.pid)
    workers = children(group)
    if private:
        assert_out_of_reach(workers)
    while len(rows(folder)) < 3 and process.poll() is None:
        time.sleep(0.01)
    assert len(workers) == 4 and process.poll() is None
    os.kill(workers[2], signal.SIGKILL)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    assert ("Open to whoever" in said) != private
    last = errors.strip().splitlines()[-1]
    assert (
        last
        == f"foodvision: Worker 2 of 4 was lost. Carry on with: foodvision train --resume {folder} --workers 4"
    )
    assert not [pid for pid in [group, *workers] if os.path.exists(f"/proc/{pid}")], "left behind"
    assert not json.loads((folder / "config.json").read_text())["complete"]

    resume = ["train", "--resume", folder, "--no-evaluate"]
    done = len(rows(folder))
    process = start(*resume, "--workers", 2, "--open-ports")
    while len(rows(folder)) < done + 2 and process.poll() is None:
        time.sleep(0.01)
    os.killpg(
        process.pid, signal.SIGINT
    )  # as a terminal does: to the command and to whatever it started in its session
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT and "Traceback" not in errors, errors
    assert errors.count("Stopped, with a checkpoint.") == 1 and said.count("Resuming") == 1, (
        "only one worker speaks"
    )
    assert "Open to whoever can reach it" in said and said.count(f" of {socket.gethostname()}") == 2
    assert json.loads((folder / "config.json").read_text())["distribution"] == {
        "devices": 1,
        "workers": 2,
    }

    process = start(*resume)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "history.json",
        "look_alikes.json",
        "look_alikes.png",
        "model.keras",
        "tensorboard",
    ]
    found, split = ([json.loads((run / name).read_text()) for run in (alone, folder)]
                    for name in ("look_alikes.json", "config.json"))  # fmt: skip
    assert found[0] == found[1] and len(found[0]) > 1
    assert split[0]["data"] == split[1]["data"] and split[0]["data"]["counts"]["validation"] == 14
    writers = {path.name.split(".")[-3] for path in (folder / "tensorboard" / "train").iterdir()}
    assert len(writers) == 3, "one process of each attempt has written logs"
    assert_close_runs(alone, folder)


AS_NOBODY = """import encodings.idna, os, socket
from foodvision.launching import enter_private_network, open_to_others
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    import ctypes
    ctypes.CDLL(None).prctl(4, 1)  # a process that changed its user may not write to its own /proc without
user = os.getuid(), os.getgid()
enter_private_network()
assert (os.getuid(), os.getgid()) == user and not open_to_others()
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
"""


def test_a_private_network_needs_no_root():
    done = subprocess.run([sys.executable, "-c", AS_NOBODY], capture_output=True, text=True)
    if "PermissionError" in done.stderr:
        pytest.skip("this system gives nobody but root a network of their own")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs the command unshare")
def test_workers_who_can_be_reached_are_refused(words, offline, tmp_path):
    forbid = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
    forbidden = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"]
    if subprocess.run([*forbidden, "true"], capture_output=True).returncode:
        pytest.skip("this system allows no user namespaces")
    command = [*forbidden, BIN / "foodvision", *words, "--run", tmp_path / "run", "--workers", 2]
    done = run(*command, **offline)
    [line] = done.stderr.splitlines()
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert (
        line.startswith("foodvision: The workers' ports cannot be closed to the network")
        and "--open-ports" in line
    )


def test_two_devices_stopped_and_one_carries_on(words, start, alone, offline, tmp_path):
    command = [BIN / "python", "-c", TWO_PROCESSORS, *words, "--run", tmp_path / "run"]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(
        [str(word) for word in [*command, "--devices", "all"]],
        env={**os.environ, **offline, "TF_CPP_MIN_LOG_LEVEL": "3"},
        text=True,
        **options,
    )
    while len(rows(tmp_path / "run")) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert json.loads((tmp_path / "run" / "config.json").read_text())["distribution"] == {
        "devices": 2,
        "workers": 1,
    }
    process = start("train", "--resume", tmp_path / "run", "--no-evaluate")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_close_runs(alone, tmp_path / "run")


def test_workers_with_other_settings_are_told(words, start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
    (secret := tmp_path / "secret").write_text("known to the two of them")
    secret.chmod(0o600)
    joining = ["--run", tmp_path / "run", "--coordinator", f"127.0.0.1:{place[1]}", "--workers", 2,
               "--secret-file", secret, "--worker-index"]  # fmt: skip
    first = start(*words, *joining, 0)
    strangers = []  # what they say has made sense to some coordinator, and must not to this one
    while len(strangers) < 4 and first.poll() is None:
        try:
            strangers.append(socket.create_connection(place, timeout=1))
            talk = [
                b'{"index": 1, "job": {}, "port": 1}\n',
                b'{"index": [1], "job": {}}\n',
                b"{}\n",
                b"",
            ][len(strangers) - 1]
            strangers[-1].sendall(talk)
        except OSError:
            time.sleep(0.1)
    other = start(*words, "--batch-size", 8, *joining, 1)
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda process: process.communicate(timeout=120)[1], (first, other)))
    wanted = (
        "foodvision: The workers do not fit together: batch_size is 8 on worker 1 and 6 on worker 0"
    )
    assert [errors.strip() for errors in ended] == [wanted] * 2
    assert (first.returncode, other.returncode) == (1, 1) and not (tmp_path / "run").exists()
    assert len(strangers) == 4
    for stranger in strangers:
        stranger.close()


def test_calls_that_cannot_work_are_refused_at_once(words, offline, tmp_path):
    from foodvision.cli import main

    (secret := tmp_path / "secret").write_text("known to the two of them")
    secret.chmod(0o600)
    for wrong in (["--workers", 0], ["--workers", 2, "--coordinator", "nowhere"],
                  ["--workers", 2, "--coordinator", "localhost:1", "--worker-index", 1],
                  ["--workers", 2, "--coordinator", "localhost:1", "--worker-index", 2, "--secret-file", secret]):  # fmt: skip
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
    assert not {option for option in options - slurm if option not in asked}, (
        "options that no command has"
    )


def test_kubernetes_example_is_sound():
    [path] = EXAMPLES.glob("*.yaml")
    kinds = {item["kind"]: item for item in yaml.safe_load_all(path.read_text())}
    assert set(kinds) == {"Service", "Job", "NetworkPolicy"}
    job, service = kinds["Job"]["spec"], kinds["Service"]["spec"]
    assert job["completionMode"] == "Indexed" and job["completions"] == job["parallelism"]
    assert service["clusterIP"] == "None" and service["selector"] == {
        "job-name": kinds["Job"]["metadata"]["name"]
    }
    labels = {"matchLabels": service["selector"]}
    assert kinds["NetworkPolicy"]["spec"]["podSelector"] == labels, (
        "TensorFlow's ports are for the workers alone"
    )
    assert kinds["NetworkPolicy"]["spec"]["ingress"] == [{"from": [{"podSelector": labels}]}]
    pod = job["template"]["spec"]
    assert (
        pod["subdomain"] == kinds["Service"]["metadata"]["name"] and pod["restartPolicy"] == "Never"
    )
    [container] = pod["containers"]
    script = container["args"][0]
    assert f"--workers {job['parallelism']}" in script and "$(JOB_COMPLETION_INDEX)" not in script
    asked = run("foodvision", "train", "--help").stdout
    assert all(word in asked for word in re.findall(r"--[a-z][a-z-]+", script))
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in pod["volumes"]}
