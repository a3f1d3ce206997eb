"""Sets of versions to test with, as constraints for pip: `python tests/versions.py oldest`, or `colab`.

`oldest` is the lower bound of each requirement in `settings.ini` but the contributors'; `colab` is what Google Colab comes
with.
`make versions SET=...` installs one of them and runs the tests that need no nbdev.
"""

import configparser
import re
import sys
from pathlib import Path

# 2026-08, Python 3.13. Colab also has tensorflow-text, which needs TensorFlow below 2.21.
COLAB = {"tensorflow": "2.20.0", "tensorboard": "2.20.0", "keras": "3.13.2", "fastcore": "2.2.12"}


def oldest() -> dict[str, str]:
    "The lower bound of each run-time requirement and of each extra that `make versions` installs"
    settings = configparser.ConfigParser(delimiters=["="])
    settings.read(Path(__file__).parent.parent / "settings.ini", encoding="utf-8")
    extras = (f"{extra}_requirements" for extra in ("app", "audit", "export", "heif", "test"))
    requirements = " ".join(settings["DEFAULT"][key] for key in ("requirements", *extras))
    return dict(re.findall(r"([\w-]+)>=([\d.]+)", requirements))


if __name__ == "__main__":
    for name, version in {"oldest": oldest(), "colab": COLAB}[sys.argv[1]].items():
        print(f"{name}=={version}")
