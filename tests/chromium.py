"""Find a Chromium for the site's tests; `python tests/chromium.py --install` gets Debian's where that is possible."""

import os
import shutil
import subprocess
import sys

NAMES = "chromium chromium-browser google-chrome google-chrome-stable".split()


def find() -> str | None:
    "Path of a Chromium or Chrome on this machine"
    return next((path for path in map(shutil.which, NAMES) if path), None)


def install():
    "Install Debian's package if this is root on such a machine; a failure is said and stops nothing"
    if find() or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print("Installing Chromium, to look at the site's pages in a browser", flush=True)
    options = [
        "-o",
        "Acquire::Retries=2",
        "-o",
        "Acquire::http::Timeout=30",
        "-o",
        "Dpkg::Use-Pty=0",
    ]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in (
            ["update"],
            ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
        ):
            subprocess.run(
                ["apt-get", "-q", *options, *command],
                env=environment,
                check=True,
                timeout=300,
                stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
            )
    except (subprocess.SubprocessError, OSError) as error:
        print(
            f"Chromium could not be installed ({error}); the tests that need it are skipped",
            flush=True,
        )


if __name__ == "__main__" and "--install" in sys.argv:
    install()
