"""Commands without the wait for TensorFlow's import, eight processor seconds: a server imports it once and forks for each.

A fork is a process of its own, with its own memory, folder, output, signals and exit code. TensorFlow makes its threads at
the first operation and not at the import, so it can be forked until then; the server computes nothing itself. What is
read from the environment at the import is the server's: each environment has a server of its own, but for what is `LATE`.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from threading import Lock

COMMAND = "foodvision"
IMPORTED = ("tensorflow", "keras", "tensorflow_datasets", "matplotlib.pyplot", "sklearn.metrics", "scipy.optimize", "PIL.Image")  # fmt: skip
# Variables that are read when something is written, drawn or asked for, and not at the import
LATE = {"XDG_CACHE_HOME", "PYTEST_CURRENT_TEST", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
LATE |= {name.lower() for name in LATE}
_ONE_AT_A_TIME = Lock()


@lru_cache(maxsize=2)  # one that is no longer held here is at the end of its requests, and ends
def _server(environment: frozenset) -> subprocess.Popen:
    "The server for an environment; it ends when this process does"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    options = {"text": True, "bufsize": 1, "start_new_session": True, **pipes}
    return subprocess.Popen([sys.executable, __file__], env=dict(environment), **options)


class Process:
    "A command in a fork of the server, in a session of its own; of `subprocess.Popen` what tests need"

    def __init__(self, words: list[str], cwd, env: dict):
        self.args, self.folder, self.returncode = words, tempfile.TemporaryDirectory(), None
        late = {name: env[name] for name in LATE & set(env)}
        server = _server(frozenset((name, env[name]) for name in env if name not in late))
        with _ONE_AT_A_TIME:
            print(json.dumps([words, str(cwd), self.folder.name, late]), file=server.stdin)
            answer = server.stdout.readline()
        if not answer:
            raise RuntimeError(f"{words[0]}'s server ended with exit code {server.wait()}")
        self.pid = int(answer)

    def read(self, name: str) -> str:
        "What it has written so far to `stdout` or `stderr`"
        text = Path(self.folder.name, name).read_bytes().decode("utf-8", "replace")
        return text.replace("\r\n", "\n")

    def poll(self) -> int | None:
        "Its exit code, once there is one"
        code = Path(self.folder.name, "code")
        if self.returncode is None and code.exists():
            self.returncode = int(code.read_text())
        return self.returncode

    def send_signal(self, number: int):
        "Send a signal to it alone"
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        "End it, and what it has started in its session"
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        "Wait until it ends; gives what it wrote"
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill()
                outputs = self.read("stdout"), self.read("stderr")
                raise subprocess.TimeoutExpired(self.args, timeout, *outputs)
            time.sleep(0.01)
        return self.read("stdout"), self.read("stderr")


def _be(words, cwd, folder, late):
    "Become the command, in a fork; never returns"
    os.setsid()
    signal.set_wakeup_fd(-1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in enumerate(("stdout", "stderr"), 1):
        os.dup2(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(cwd)
    os.environ.update(late)
    sys.argv, code = words, 1
    try:
        [program] = entry_points(group="console_scripts", name=words[0])
        code = program.load()() or 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def _watch(words, cwd, folder, late, answers):
    "Fork the command, answer its process id, and write its exit code once it has ended; never returns"
    for name in ("stdout", "stderr"):
        Path(folder, name).touch()
    if not (child := os.fork()):
        _be(words, cwd, folder, late)
    print(child, file=answers)
    _, status = os.waitpid(child, 0)
    part = Path(folder, "part")
    with contextlib.suppress(OSError):  # its folder is gone: nobody waits for it any more
        part.write_text(str(os.waitstatus_to_exitcode(status)))
        part.rename(part.with_name("code"))
    os._exit(0)


def main():
    "Serve requests, a line each, until there are no more"
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for module in IMPORTED:
        import_module(module)
    for line in sys.stdin:
        if not os.fork():
            _watch(*json.loads(line), answers)
        with contextlib.suppress(ChildProcessError):  # those that have ended meanwhile
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    main()
