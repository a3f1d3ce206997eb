"""The site as text, for programs that read it: `llms-full.txt` is every page, `apilist.txt` every public name.

`nbs/_quarto.yml` runs this after the pages are made, with Quarto and with `make docs` alike.
"""

import os
from pathlib import Path

from smalldocs.api import inventory


def pages(site: Path) -> str:
    "The Markdown copies of all pages, in the order of `llms.txt`"
    index = (site / "llms.txt").read_text(encoding="utf-8")
    copies = {path.relative_to(site).as_posix(): path for path in site.rglob("*.llms.md")}
    order = sorted(copies, key=lambda name: index.find(name))
    return "\n\n".join(copies[name].read_text(encoding="utf-8").strip() for name in order) + "\n"


def names() -> str:
    "Every public class, function and method of the package with the first line of its docstring"
    lines = []
    for symbol in inventory(["foodvision"]):
        name = f"{symbol.module}.{symbol.name}" if symbol.name else f"\n## {symbol.module}\n"
        lines.append(f"- `{name}`: {symbol.summary}" if symbol.name else name)
    return "# foodvision: the public names\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    out = Path(os.environ["QUARTO_PROJECT_OUTPUT_DIR"])
    (out / "llms-full.txt").write_text(pages(out), encoding="utf-8")
    (out / "apilist.txt").write_text(names(), encoding="utf-8")
