"The notebooks follow the conventions of the project; that they run is what `nbdev_test` tests"

import ast
import itertools
import json
import re

import pytest
from conftest import CHAPTERS, NOTEBOOKS, ROOT
from measures import MEASURES, Cell, code_cells, read, reading_minutes, table

LONGEST_CELL = (
    45  # Lines of code; a class cannot be split over cells, so its methods are measured instead
)
LONGEST_METHOD = 40
LONGEST_LINE = 140  # Columns
BYTES, PICTURES = 200_000, 4  # Saved outputs of one notebook
TUTORIAL_PICTURES = 10  # A tutorial is all the steps on one page, and most steps are looked at


@pytest.fixture(params=NOTEBOOKS, ids=str, scope="module")
def book(request) -> dict:
    return json.loads((ROOT / "nbs" / request.param).read_text(encoding="utf-8"))


@pytest.fixture
def cells(book) -> list[Cell]:
    return code_cells(book)


def test_opens_with_a_title_and_a_promise(book):
    first = book["cells"][0]
    source = "".join(first["source"])
    assert first["cell_type"] == "markdown" and re.match(r"# \S.*\n+> \S", source), source[:200]
    rest = [
        line
        for line in source.splitlines()[1:]
        if line.strip() and not re.match(r">|- [\w-]+:", line)
    ]
    assert not rest, (
        f"the site leaves out what else stands in the first cell: give it a cell of its own: {rest[0]}"
    )


def test_cells_are_short(cells):
    for cell in cells:
        lines = [line for line in cell.code.splitlines() if line.strip()]
        assert not [line for line in lines if len(line) > LONGEST_LINE]
        if any(isinstance(node, ast.ClassDef) for node in cell.body):
            spans = {
                node.name: node.end_lineno - node.lineno + 1 for node in cell.nodes(ast.FunctionDef)
            }
            assert not {name: lines for name, lines in spans.items() if lines > LONGEST_METHOD}
        else:
            assert len(lines) <= LONGEST_CELL, f"{len(lines)} lines: {lines[0]}"


def public(body):
    "The public functions and classes among some statements"
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


def undescribed(function, source: list[str]) -> list[str]:
    "Parameters of a function that no comment on their line describes, and the function itself without a docstring"
    given = function.args
    parameters = (
        given.posonlyargs
        + given.args
        + given.kwonlyargs
        + [a for a in (given.vararg, given.kwarg) if a]
    )
    names = [
        p.arg
        for p in parameters
        if p.arg not in ("self", "cls") and "#" not in source[p.end_lineno - 1]
    ]
    return names + (
        [] if ast.get_docstring(function) or function.name == "__init__" else ["(no docstring)"]
    )


def test_public_names_are_described(cells):
    missing = []
    for cell in cells:
        source = cell.code.splitlines()
        for node in public(cell.body) if cell.exported else []:
            parts = [node]
            if isinstance(node, ast.ClassDef):
                assert ast.get_docstring(node), f"{node.name} has no docstring"
                inner = [n for n in node.body if isinstance(n, ast.FunctionDef)]
                # What begins with on_ is a hook that Keras calls and describes.
                parts = [
                    n for n in inner if not n.name.startswith(("_", "on_")) or n.name == "__init__"
                ]
                fields = [
                    n
                    for n in node.body
                    if isinstance(n, ast.AnnAssign) and not n.target.id.startswith("_")
                ]
                missing += [
                    f"{node.name}.{n.target.id}"
                    for n in fields
                    if "#" not in source[n.end_lineno - 1]
                ]
            missing += [
                f"{node.name}.{part.name}: {name}"
                for part in parts
                for name in undescribed(part, source)
            ]
    assert not missing


def test_public_names_are_shown_at_work(cells):
    for index, cell in enumerate(cells):
        later = "\n".join(
            other.code for other in cells[index + 1 :] if other.runs and not other.exported
        )
        for node in public(cell.body) if cell.exported else []:
            assert re.search(rf"\b{node.name}\b", later), (
                f"no example or test of {node.name} after it"
            )


def test_imports_stand_alone(cells):
    "What a chapter builds on is seen at a glance; nbdev's own tools count on it too"
    for cell in cells:
        others = [node for node in cell.body if not isinstance(node, ast.Import | ast.ImportFrom)]
        assert not cell.runs or len(others) in (0, len(cell.body)), (
            f"imports beside other code: {cell.code[:80]}"
        )


def test_notebooks_need_nothing_of_a_clone(cells):
    "They run wherever the package is installed, in Colab too"
    imported = [node.module or "" for cell in cells for node in cell.nodes(ast.ImportFrom)]
    imported += [a.name for cell in cells for node in cell.nodes(ast.Import) for a in node.names]
    assert not {name.partition(".")[0] for name in imported} & {
        "documentation",
        "tests",
        "benchmarks",
    }


def test_outputs_are_fit_to_read(book, request):
    text, pictures, size = "", 0, 0
    tutorial = request.node.callspec.params["book"].parent.name == "tutorials"
    most = TUTORIAL_PICTURES if tutorial else PICTURES
    for cell in book["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error" and output.get("name") != "stderr", output
            data = output.get("data", {"text/plain": output.get("text", "")})
            pictures += any(kind.startswith("image/") for kind in data)
            size += len(json.dumps(output))
            text += "".join(
                "".join(value) + "\n" for kind, value in data.items() if kind.startswith("text/")
            )
    assert size <= BYTES and pictures <= most, f"{size:,} bytes and {pictures} pictures"
    paths = r"/(?:home|root|Users|tmp|work|var/folders)/\S+"
    debris = r"\w*Warning\b.*|WARNING.*|\r|it/s\]|\x1b\[|\d+%\|"
    found = re.search(rf"{paths}|{debris}|<\S+ object at 0x\w+>", text)
    assert not found, f"machine path, warning or progress debris: {found[0]!r}"


def test_outputs_are_there(cells):
    "A cell that ends in a value or prints is there to be read: its output is saved with it"
    for cell in cells:
        if (
            not (cell.runs and cell.body)
            or cell.exported
            or cell.hidden
            or cell.source.rstrip().endswith(";")
        ):
            continue
        # A call may end a cell and give nothing back (`test_eq`); any other expression gives a value.
        shows = isinstance(cell.body[-1], ast.Expr) and not isinstance(
            cell.body[-1].value, ast.Call | ast.Constant
        )
        prints = any(
            isinstance(node, ast.Expr) and ast.unparse(node).startswith("print(")
            for node in cell.body
        )
        assert cell.outputs or not (shows or prints), (
            f"no saved output: {cell.code.splitlines()[-1]}"
        )


def test_pictures_are_there(cells):
    "A cell that describes a picture has one saved with it: without one the page shows the name of an object"
    for cell in cells:
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        assert "fig" not in cell.directives or any(kind.startswith("image/") for kind in kinds), (
            cell.code.splitlines()[-1]
        )


def test_links_between_notebooks_lead_somewhere(book, request):
    here = (ROOT / "nbs" / request.node.callspec.params["book"]).parent
    prose = "\n".join(
        "".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown"
    )
    for target in re.findall(
        r"\]\((?!\w+:|#|try/)([^)#\s]+)", prose
    ):  # `try` is made with the site, whose test follows it
        assert (here / target).exists(), f"link to {target}"


def test_a_chapter_leads_to_the_next():
    "The last words of a chapter link to the one that the sidebar has after it"
    assert set(CHAPTERS) == {str(path) for path in NOTEBOOKS if re.match(r"\d\d", path.name)}
    for here, following in itertools.pairwise(CHAPTERS):
        cells = json.loads((ROOT / "nbs" / here).read_text(encoding="utf-8"))["cells"]
        last = next(
            "".join(cell["source"]) for cell in reversed(cells) if cell["cell_type"] == "markdown"
        )
        assert f"]({following})" in last, f"{here} ends without a link to {following}"


@pytest.fixture(scope="module")
def books() -> dict:
    return read()


def test_the_whole_story_is_read_in_25_minutes():
    story = ROOT / "nbs" / "tutorials" / "food_vision_big.ipynb"
    assert 15 < reading_minutes(json.loads(story.read_text(encoding="utf-8"))) <= 25


def test_the_measures_of_all_notebooks(books, record_property):
    "Prints the table at the end of the tests; what the notebooks meet already is asserted"
    record_property("measures", "\n".join(table(books)))


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_measure(measure, books):
    if not measure.enforced:
        pytest.skip(f"not asserted yet: {measure.of(books):{measure.form}}")
    assert measure.holds(books), (measure.of(books), *measure.places(books))


def made_up(*cells: str) -> dict:
    "One notebook of code cells"
    book = {"cells": [{"cell_type": "code", "source": source, "outputs": []} for source in cells]}
    return {"made_up.ipynb": code_cells(book)}


def lines(count: int, name="f") -> str:
    "An exported function of so many lines"
    return f"#| export\ndef {name}():\n" + "    x = 1\n" * (count - 1)


@pytest.mark.parametrize(
    "measure, good, bad",
    [
        ("exported cells over 30 lines, percent", [lines(30)], [lines(31)]),
        ("exported cells over 40 lines", [lines(40)], [lines(41)]),
        ("lines of a code cell, median", ["f()\n" * 5] * 3, ["f()\n" * 6] * 3),
        ("lines of a code cell, 90th percentile", ["f()\n" * 15] * 10, ["f()\n" * 16] * 10),
        ("exported lines of a module, median", [lines(200)], [lines(201)]),
        ("exported lines of a module, largest", [lines(350)], [lines(351)]),
        ("private names to one public function or class", [lines(2), "#| export\n_A = 1"], [lines(2), "#| export\n_A = _B = 1"]),
        ("visible lines to one exported line", [lines(10), "f()\n" * 7], [lines(10), "f()\n" * 6]),
        ("visible lines to one exported line", [lines(10), "f()\n" * 7], [lines(10), "#| hide\n" + "f()\n" * 7]),
        ("exported cells seen at work within two cells, percent", [lines(2), "1", "f()"], [lines(2), "1", "1", "f()"]),
        ("private names imported from another module", ["from foodvision.run import a"], ["from foodvision.run import _a"]),
        ("runs of more than three exported cells", [lines(2)] * 3 + ["f()"] + [lines(2)], [lines(2)] * 3 + ["#| hide\nf()"] + [lines(2)]),
    ],
)  # fmt: skip
def test_a_measure_can_fail(measure, good, bad):
    [found] = [each for each in MEASURES if each.name == measure]
    assert found.holds(made_up(*good)) and not found.holds(made_up(*bad))


def test_every_measure_is_seen_to_fail():
    [mark] = test_a_measure_can_fail.pytestmark
    assert {case[0] for case in mark.args[1]} == {measure.name for measure in MEASURES}
