"""The site as text: `llms-full.txt` is every page, `apilist.txt` every public name with the first line of its docstring.

`nbs/_quarto.yml` runs this after the pages are made, with Quarto and with `make docs` alike.
"""

import os
from pathlib import Path

from smalldocs.api import inventory


def main(site: Path):
    index = "".join(path.read_text(encoding="utf-8") for path in site.glob("llms.txt"))
    copies = sorted(
        site.rglob("*.llms.md"), key=lambda p: index.find(p.relative_to(site).as_posix())
    )
    pages = [path.read_text(encoding="utf-8").strip() for path in copies]
    (site / "llms-full.txt").write_text("\n\n".join(pages) + "\n", encoding="utf-8")
    names = [
        f"- `{s.module}.{s.name}`: {s.summary}" if s.name else f"\n## {s.module}\n"
        for s in inventory(["foodvision"])
    ]
    text = "\n".join(["# foodvision: the public names", *names])
    (site / "apilist.txt").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(os.environ["QUARTO_PROJECT_OUTPUT_DIR"]))
