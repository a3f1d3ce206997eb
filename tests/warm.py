"""Commands without the wait for TensorFlow's import, eight processor seconds: a server imports it once and forks for each.

A fork is a process of its own, with its own memory, folder, output and exit code. TensorFlow makes its threads at the
first operation and not at the import, so it can be forked until then; the server computes nothing itself. What a command
takes from its environment at the import it takes from the server's: each environment has a server of its own.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from threading import Lock

COMMAND = "foodvision"
IMPORTED = ("tensorflow", "keras", "tensorflow_datasets", "matplotlib.pyplot", "sklearn.metrics", "scipy.optimize", "PIL.Image")  # fmt: skip
_ONE_AT_A_TIME = Lock()


@lru_cache(maxsize=2)  # one that is no longer held here is at the end of its requests, and ends
def _server(environment: frozenset) -> subprocess.Popen:
    "The server for an environment; it ends when this process does"
    return subprocess.Popen([sys.executable, __file__], env=dict(environment), text=True, bufsize=1, start_new_session=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip


def run(words: list[str], cwd, env: dict, timeout: float) -> subprocess.CompletedProcess:
    "What `subprocess.run` gives for `COMMAND`, in a fork of the server"
    server = _server(
        frozenset(item for item in env.items() if item[0] != "PYTEST_CURRENT_TEST")
    )  # another in every test
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("output", "errors")]
        with _ONE_AT_A_TIME:
            print(json.dumps([words, str(cwd), timeout, *map(str, files)]), file=server.stdin)
            answer = server.stdout.readline()
        if not answer:
            raise RuntimeError(f"{words[0]}'s server ended with exit code {server.wait()}")
        output, errors = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    if answer.strip() == "timeout":
        raise subprocess.TimeoutExpired(words, timeout, output, errors)
    return subprocess.CompletedProcess(words, int(answer), output, errors)


def _be(words, cwd, output, errors):
    "Become the command, in a fork; never returns"
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, (path, how) in enumerate(
        [(os.devnull, os.O_RDONLY), *[(p, os.O_WRONLY | os.O_CREAT) for p in (output, errors)]]
    ):
        os.dup2(os.open(path, how), number)
    os.chdir(cwd)
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
            import atexit

            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def main():
    "Serve requests, a line each, until there are no more"
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for module in IMPORTED:
        import_module(module)
    for line in sys.stdin:
        words, cwd, timeout, output, errors = json.loads(line)
        if not (child := os.fork()):
            _be(words, cwd, output, errors)
        late = False

        def end(*_):
            nonlocal late
            late = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)

        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, timeout)
        _, status = os.waitpid(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("timeout" if late else os.waitstatus_to_exitcode(status), file=answers)


if __name__ == "__main__":
    main()
