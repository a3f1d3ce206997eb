"""How readable the notebooks are, in numbers: `make measures`, or `python -m tests.measures`, prints them as a table.

A number that is asserted in `tests/test_notebooks.py` has its limit here. Lines are lines of code or comment: blank
lines and nbdev's directives do not count. Files that were not written here (`foodvision/page/litert`) are in no
notebook and so are not measured.
"""

import ast
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

NOTEBOOKS = Path(__file__).resolve().parent.parent / "nbs"


class Cell:
    "A code cell: its directives, its code, and its top-level statements"

    def __init__(self, cell: dict, number: int = 0):
        self.number = number  # Its place among all cells of the notebook, prose too
        self.source = "".join(cell["source"])
        self.directives = set(re.findall(r"^#\|\s*(\w+)", self.source, re.M))
        self.code = re.sub(r"^#\|.*\n?", "", self.source, flags=re.M).strip()
        self.lines = [line for line in self.code.splitlines() if line.strip()]
        self.exported = bool(self.directives & {"export", "exports", "exporti"})
        self.runs = not re.search(r"^#\|\s*eval:\s*false", self.source, re.M)
        self.hidden = "hide" in self.directives or bool(
            re.search(r"^#\|\s*include:\s*false", self.source, re.M)
        )
        self.echoes = not re.search(r"^#\|\s*echo:\s*false", self.source, re.M)
        self.body = ast.parse(re.sub(r"^\s*[%!].*$", "", self.code, flags=re.M)).body
        self.outputs = cell.get("outputs", [])

    def nodes(self, kind) -> list:
        "Every part of the code that is of a kind, however deep"
        return [node for node in ast.walk(ast.Module(self.body, [])) if isinstance(node, kind)]

    @property
    def shows(self) -> bool:
        "A reader sees it run"
        return self.runs and bool(self.body) and not self.exported and not self.hidden

    @property
    def defines(self) -> list[str]:
        "The names of its top-level functions, classes and variables"
        names = [node.name for node in self.body if hasattr(node, "name")]
        for node in self.body:
            targets = (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            )
            names += [target.id for target in targets if isinstance(target, ast.Name)]
        return names

    @property
    def has_code(self) -> bool:
        "It holds more than imports"
        return any(not isinstance(node, ast.Import | ast.ImportFrom) for node in self.body)


def code_cells(book: dict) -> list[Cell]:
    "The code cells of a notebook"
    return [Cell(c, i) for i, c in enumerate(book["cells"]) if c["cell_type"] == "code"]


def read(folder: Path = NOTEBOOKS) -> dict[str, list[Cell]]:
    "The code cells of each notebook in a folder and below it"
    paths = (path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    return {
        path.relative_to(folder).as_posix(): code_cells(
            json.loads(path.read_text(encoding="utf-8"))
        )
        for path in sorted(paths)
    }


def exported(books: dict[str, list[Cell]]) -> list[Cell]:
    "All exported cells that hold more than imports"
    return [cell for cells in books.values() for cell in cells if cell.exported and cell.has_code]


def share_longer(books: dict[str, list[Cell]], lines: int) -> float:
    "Percent of the exported cells that have more lines"
    cells = exported(books)
    return 100 * sum(len(cell.lines) > lines for cell in cells) / max(1, len(cells))


def cell_lengths(books: dict[str, list[Cell]]) -> list[int]:
    "Lines of every code cell that has any"
    return [len(cell.lines) for cells in books.values() for cell in cells if cell.lines]


def module_lengths(books: dict[str, list[Cell]]) -> dict[str, int]:
    "Exported lines of each notebook that exports any"
    lengths = {
        name: sum(len(cell.lines) for cell in cells if cell.exported)
        for name, cells in books.items()
    }
    return {name: length for name, length in lengths.items() if length}


def private_to_public(books: dict[str, list[Cell]]) -> float:
    "Private names, of constants too, for each public function or class, at the top level of exported cells"
    private = [name for cell in exported(books) for name in cell.defines if name.startswith("_")]
    definitions = [node for cell in exported(books) for node in cell.body if hasattr(node, "name")]
    return len(private) / max(1, sum(not node.name.startswith("_") for node in definitions))


def visible_to_exported(books: dict[str, list[Cell]]) -> float:
    "Lines of code that a reader sees and the package does not hold, for each exported line; chapters with a module only"
    chapters = [books[name] for name in module_lengths(books)]
    shown = sum(len(c.lines) for cells in chapters for c in cells if c.shows and c.echoes)
    return shown / max(1, sum(module_lengths(books).values()))


def share_seen(books: dict[str, list[Cell]]) -> float:
    "Percent of the exported cells of which one of the next two cells, prose counted, shows a name at work"
    cells = exported(books)
    seen = 0
    for notebook in books.values():
        by_number = {cell.number: cell for cell in notebook}
        for cell in exported({"": notebook}):
            following = (by_number.get(cell.number + step) for step in (1, 2))
            after = "\n".join(other.code for other in following if other and other.shows)
            seen += any(re.search(rf"\b{re.escape(name)}\b", after) for name in cell.defines)
    return 100 * seen / max(1, len(cells))


def reading_minutes(book: dict) -> float:
    """Minutes to read a notebook: 230 words of prose and 30 lines of code a minute

    Imports, folded code and solutions to exercises are not counted.
    """
    words = lines = 0
    counted = True
    for cell in book["cells"]:
        source = "".join(cell["source"])
        counted = counted and "<details>" not in source
        if cell["cell_type"] == "markdown":
            words += len(re.sub(r"\]\(.*?\)|[#*|`]", " ", source).split()) if counted else 0
            counted = counted or "</details>" in source
        elif counted and not re.search(r"^#\|\s*(hide|code-fold: true)", source, re.M):
            code = Cell(cell)
            imports = code.nodes(ast.Import) + code.nodes(ast.ImportFrom)
            lines += len(code.lines) - sum(n.end_lineno - n.lineno + 1 for n in imports)
    return words / 230 + lines / 30


def private_imports(books: dict[str, list[Cell]]) -> list[str]:
    "Private names that a notebook imports from one of the package's modules"
    return [
        f"{name}: {alias.name}"
        for name, cells in books.items()
        for cell in cells
        for node in cell.nodes(ast.ImportFrom)
        if (node.module or "").startswith("foodvision")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.endswith("__")
    ]


def long_runs(books: dict[str, list[Cell]]) -> list[str]:
    "Where more than three exported cells follow each other without a visible cell that runs"
    found = []
    for name, cells in books.items():
        counted = [c for c in cells if c.shows or c.exported and c.has_code]
        for is_exported, group in itertools.groupby(counted, key=lambda cell: cell.exported):
            run = list(group)
            if is_exported and len(run) > 3:
                found.append(f"{name}: {len(run)} cells from {run[0].lines[0]!r}")
    return found


@dataclass(frozen=True)
class Measure:
    "One number about all notebooks, and what it is to be"

    name: str
    value: Callable  # The cells of each notebook -> a number, or the places that have the fault
    wanted: float
    at_least: bool = False  # The number has to reach `wanted`; otherwise it may not pass it
    enforced: bool = True  # A test asserts it; otherwise it is printed alone
    form: str = ".0f"

    def of(self, books: dict[str, list[Cell]]) -> float:
        value = self.value(books)
        return len(value) if isinstance(value, list) else value

    def holds(self, books: dict[str, list[Cell]]) -> bool:
        value = self.of(books)
        return value >= self.wanted if self.at_least else value <= self.wanted

    def places(self, books: dict[str, list[Cell]]) -> list[str]:
        "Where to look, for a measure that counts places"
        value = self.value(books)
        return value if isinstance(value, list) else []


def cells_over_40(books: dict[str, list[Cell]]) -> list[str]:
    "Exported cells of more than 40 lines"
    return [
        f"{name}: {len(cell.lines)} lines from {cell.lines[0]!r}"
        for name, cells in books.items()
        for cell in cells
        if cell.exported and cell.has_code and len(cell.lines) > 40
    ]


def largest_module(books: dict[str, list[Cell]]) -> int:
    return max(module_lengths(books).values(), default=0)


# The limit of each measure. What the notebooks do not meet yet is printed and not asserted: `enforced=False`.
MEASURES = [
    Measure("exported cells over 30 lines, percent", lambda books: share_longer(books, 30), 5, form=".1f"),
    Measure("exported cells over 40 lines", cells_over_40, 0),
    Measure("lines of a code cell, median", lambda books: median(cell_lengths(books)), 5, enforced=False),
    Measure("lines of a code cell, 90th percentile", lambda books: quantiles(cell_lengths(books), n=10)[-1], 15, enforced=False),
    Measure("exported lines of a module, median", lambda books: median(module_lengths(books).values()), 200),
    Measure("exported lines of a module, largest", largest_module, 350),
    Measure("private names to one public function or class", private_to_public, 1.2, form=".2f"),
    Measure("visible lines to one exported line", visible_to_exported, 0.7, at_least=True, enforced=False, form=".2f"),
    Measure("exported cells seen at work within two cells, percent", share_seen, 65, at_least=True),
    Measure("private names imported from another module", private_imports, 0),
    Measure("runs of more than three exported cells", long_runs, 0),
]  # fmt: skip


def table(books: dict[str, list[Cell]]) -> list[str]:
    "The measures as lines of text: what is, what is wanted, whether a test asserts it"
    lines = [f"{'measure':54}{'is':>8}{'wanted':>10}   "]
    for measure in MEASURES:
        wanted = f"{'>=' if measure.at_least else '<='} {measure.wanted:g}"
        note = "" if measure.holds(books) else "not met"
        note = note or ("" if measure.enforced else "met, not asserted yet")
        lines.append(
            f"{measure.name:54}{measure.of(books):>8{measure.form}}{wanted:>10}   {note}".rstrip()
        )
    return lines


if __name__ == "__main__":
    everything = read()
    print("\n".join(table(everything)))
    for measure in MEASURES:
        if places := measure.places(everything):
            print(f"\n{measure.name}:", *places, sep="\n  ")
