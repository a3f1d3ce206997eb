"""What a public name looks like on the site: its signature as source code, its docstring, a table of its parameters.

settings.ini names three parts of this module for nbdev: `TableRenderer` draws what `show_doc` shows, `RunShowDoc` runs
those cells and no others, and `FoldSource` keeps the package's code on the page, where nbdev would leave it out.
"""

import ast
import importlib
import inspect
import re

from fastcore.docments import docments
from nbdev.config import create_output
from nbdev.doclinks import NbdevLookup
from nbdev.process import Processor
from nbdev.processors import _default_exp
from nbdev.showdoc import BasicMarkdownRenderer
from nbdev.showdoc import show_doc as show

from documentation.links import linked

LINE = 88  # Columns of a signature before it is broken into one parameter a line
LINES = 15  # Lines of a private helper's code that are shown without a click
NOTHING = inspect.Parameter.empty


class RunShowDoc(Processor):
    "Runs a chapter's `show_doc` cells, and no other, with the names of the module that the chapter exports"

    def __init__(self, nb):
        super().__init__(nb)
        self.module = _default_exp(
            nb
        )  # Found now: later processors take the cell that says it away

    def cell(self, cell):
        found = (
            re.search(r"^show_doc\((\w[\w.]*)", cell.source or "", re.M)
            if cell.cell_type == "code"
            else None
        )
        if found and self.module:
            first, *rest = found[1].split(".")
            module = importlib.import_module(f"foodvision.{self.module}")
            _import_for_annotations(module)
            symbol = getattr(module, first)
            for name in rest:
                symbol = getattr(symbol, name)
            shown = linked(show(symbol)._repr_markdown_())
            cell.outputs = create_output(NbdevLookup().linkify(shown), "markdown")


def _import_for_annotations(module):
    "What a module imports under `if TYPE_CHECKING:` alone; its annotations are read here, so the names are needed"
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            exec(compile(ast.Module(node.body, []), module.__file__, "exec"), vars(module))


class FoldSource(Processor):
    "Puts exported code under the documentation of what it defines, folded; short code that shows no signature is open"

    def begin(self):
        cells, code, shown = [], [], []
        for cell in [*self.nb.cells, None]:
            if code and getattr(
                cell, "has_sd", False
            ):  # nbdev's own show_doc cells, last name first
                shown.insert(0, cell)
            else:
                cells += shown + code
                shown, code = [], [cell]
        self.nb.cells = cells

    def cell(self, cell):
        if cell.cell_type != "code" or not cell.directives_.keys() & {
            "export",
            "exporti",
            "hide",
            "default_exp",
        }:
            return
        body = [
            node
            for node in cell.parsed_() or []
            if not isinstance(node, ast.Import | ast.ImportFrom)
        ]
        if not body or cell.directives_.keys() & {"hide", "default_exp"}:
            cell.source = None  # nbdev drops a cell without a source
            return
        names = [node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        public = any(name[0] != "_" for name in names)
        fold = "true" if public or len(cell.source.splitlines()) > LINES else "show"
        summary = (
            "Source"
            + (f" of {', '.join(names[:4])}" if names else "")
            + (", …" if len(names) > 4 else "")
        )
        cell.source = f'#| code-fold: {fold}\n#| code-summary: "{summary}"\n{cell.source}'


class TableRenderer(BasicMarkdownRenderer):
    "A heading, a link to the source, the signature, the docstring, and tables of the parameters and of the members"

    def _repr_markdown_(self):
        file = NbdevLookup().code(
            self.fn
        )  # With #LNone: it finds no line for a name that its module stands before
        source = (
            f"{file.partition('#')[0]}#L{inspect.getsourcelines(inspect.unwrap(self.sym))[1]}"
            if file
            else ""
        )
        name = self.nm.replace("__", r"\_\_")  # `__call__` would be a bold word
        head = f"{'#' * self.title_level} {name}\n\n" + (
            f"[source]({source}){{.source}}\n\n" if source else ""
        )
        docs = re.sub(
            r"(?<![(<`])https?://[^\s<>()`]*[^\s<>()`.,;]", r"<\g<0>>", self.docs
        )  # an address becomes a link
        if self.sig is None:
            return f"{head}{docs}\n"
        described = docments(self.sym, full=True, eval_str=True)
        signature = _signature(self.sym, self.sig, described.get("return", {}))
        tables = _parameters(self.sig, described) + _members(self.sym)
        return f"{head}```python\n{signature}\n```\n\n{docs}\n{tables}"


def _signature(symbol, signature: inspect.Signature, returned: dict) -> str:
    "The signature as source code, without the comments that the table holds"
    kind = "class" if inspect.isclass(symbol) else "def"
    annotation = returned.get("anno", NOTHING)
    arrow = "" if kind == "class" or annotation is NOTHING else f" -> {_annotation(annotation)}"
    parameters = [
        _parameter(p) for p in signature.parameters.values() if p.name not in ("self", "cls")
    ]
    line = f"{kind} {symbol.__name__}({', '.join(parameters)}){arrow}"
    if len(line) <= LINE:
        return line
    return f"{kind} {symbol.__name__}(\n    " + ",\n    ".join(parameters) + f",\n){arrow}"


def _parameter(parameter: inspect.Parameter) -> str:
    "One parameter as source code"
    text = _name(parameter)
    if parameter.annotation is not NOTHING:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not NOTHING:
        text += (" = " if ":" in text else "=") + _default(parameter.default)
    return text


def _name(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return stars.get(parameter.kind, "") + parameter.name


def _annotation(annotation) -> str:
    "A type as its author wrote it: libraries' own names for where it is kept, and own and standard modules, left out"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\bkeras\.src\.(?:\w+\.)*", "keras.", text).replace(
        "PIL.Image.Image", "PIL.Image"
    )
    text = re.sub(r"\btensorflow\.python\.data\.\S*?\bDatasetV2\b", "tf.data.Dataset", text)
    text = re.sub(
        r"\b((?:\w+\.)+)_\w+\.", r"\1", text
    )  # matplotlib.axes._axes.Axes, numpy.random._generator.Generator
    return re.sub(r"\b(?:foodvision\.\w+|pathlib|collections\.abc|typing)\.", "", text)


def _default(value) -> str:
    return getattr(value, "__name__", None) or repr(value)


def _parameters(signature: inspect.Signature, described: dict) -> str:
    "A Markdown table of the parameters and of what is returned; nothing where nothing is described"
    rows = []
    for name, parameter in signature.parameters.items():
        text = described.get(name, {}).get("docment")
        if name not in ("self", "cls") and text:
            kind = (
                "" if parameter.annotation is NOTHING else _code(_annotation(parameter.annotation))
            )
            default = "" if parameter.default is NOTHING else _code(_default(parameter.default))
            # HTML and not backticks, in which nbdev would see a function of the same name and link it.
            rows.append([f"<code>{_name(parameter)}</code>", kind, default, text])
    returned = described.get("return", {})
    if returned.get("docment"):
        kind = (
            "" if returned.get("anno", NOTHING) is NOTHING else _code(_annotation(returned["anno"]))
        )
        rows.append(["returns", kind, "", returned["docment"]])
    if not rows:
        return ""
    head = ["Parameter", "Type", "Default", "What it is"]
    # A column that no row fills would only be in the way on a phone.
    kept = [i for i in range(4) if any(row[i] for row in rows)]
    lines = [[head[i] for i in kept], ["---"] * len(kept)]
    lines += [[_cell(row[i], i) for i in kept] for row in rows]
    return _table([f"| {' | '.join(line)} |" for line in lines])


def _cell(text: str, column: int) -> str:
    "One cell: on one line, no bar ends it, and what is said in words is not taken for HTML (`<class>/*.jpg`)"
    text = re.sub(r"\s+", " ", text).replace("|", r"\|")
    if column < 3:
        return text
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;")
        for part in re.split(r"(`[^`]*`)", text)
    )


def _table(lines: list[str]) -> str:
    "Lines of Markdown as a table that can be scrolled sideways on a phone"
    return "\n::: {.parameters}\n" + "\n".join(lines) + "\n:::\n"


def _members(symbol) -> str:
    "A Markdown table of a class's own public methods and properties, with the first line of each docstring"
    if not inspect.isclass(symbol):
        return ""
    rows = []
    for name, member in vars(symbol).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        given = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
        call = name if isinstance(member, property) else f"{name}({', '.join(given)})"
        rows.append(f"| {_code(call)} | {inspect.getdoc(function).splitlines()[0]} |")
    return _table(["| Member | What it does |", "| --- | --- |", *rows]) if rows else ""


def _code(text: str) -> str:
    return f"`{text}`"
