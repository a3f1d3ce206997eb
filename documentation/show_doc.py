"""What a public name looks like on the site: its signature, its docstring, a table of its parameters, its source.

settings.ini names two parts of this module for nbdev: `RunShowDoc` runs the `show_doc` cells and no others, and
`FoldSource` keeps the package's code on the page, where nbdev would leave it out.
"""

import ast
import importlib
import inspect
import re
import subprocess
from operator import attrgetter

from nbdev.config import create_output
from nbdev.doclinks import NbdevLookup
from nbdev.process import Processor
from nbdev.processors import _default_exp
from smalldocs import api

from documentation.links import linked

LINES = 15  # A private helper of at most so many lines is shown without a click


class RunShowDoc(Processor):
    "Runs a chapter's `show_doc` cells, and no other, with the names of the module that the chapter exports"

    def __init__(self, nb):
        super().__init__(nb)
        self.module = _default_exp(nb)  # Read now: later processors remove the cell that has it

    def cell(self, cell):
        code = cell.source or "" if cell.cell_type == "code" else ""
        if self.module and (found := re.search(r"^show_doc\((\w[\w.]*)", code, re.M)):
            symbol = attrgetter(found[1])(importlib.import_module(f"foodvision.{self.module}"))
            text = NbdevLookup().linkify(linked(described(symbol)))
            cell.outputs = create_output(text, "markdown")


class FoldSource(Processor):
    "Puts exported code, folded, under the documentation of what it defines; short code without any is open"

    def begin(self):
        cells, code, documentation = [], [], []
        for cell in [*self.nb.cells, None]:
            if code and getattr(cell, "has_sd", False):  # nbdev's `show_doc` cells, last name first
                documentation.insert(0, cell)
            else:
                cells += documentation + code
                documentation, code = [], [cell]
        self.nb.cells = cells

    def cell(self, cell):
        kinds = set(cell.directives_) if cell.cell_type == "code" else set()
        body = [
            node
            for node in cell.parsed_() or []
            if not isinstance(node, ast.Import | ast.ImportFrom)
        ]
        if kinds & {"hide", "default_exp"} or kinds & {"export", "exporti"} and not body:
            cell.source = None  # nbdev drops a cell without a source
        elif kinds & {"export", "exporti"}:
            names = [node.name for node in body if hasattr(node, "name")]
            short = len(cell.source.splitlines()) <= LINES
            fold = "show" if short and all(name[0] == "_" for name in names) else "true"
            summary = "Source" + (f" of {', '.join(names)}" if names else "")
            cell.source = f'#| code-fold: {fold}\n#| code-summary: "{summary}"\n{cell.source}'


def described(symbol) -> str:
    "The Markdown of a public name: heading, link to the source, signature, docstring, parameters, members"
    _, _, text = api.entry(symbol, 3).partition("\n\n")
    text = re.sub(r"(?<=```python\n).+(?=\n```)", signature(symbol), text, count=1)
    text = re.sub(r"(?<![(<`])https?://[^\s<>()`]*[^\s<>()`.,;]", r"<\g<0>>", text)
    # nbdev would link a parameter's name in backticks to a function of that name.
    text = re.sub(r"^\| `(\w+)` \|", r"| <code>\1</code> |", text, flags=re.M)
    name = f"{symbol.__module__}.{symbol.__qualname__}"
    file = NbdevLookup().code(name).partition("#")[0]
    source = f"[source]({file}#L{api.line_of(inspect.unwrap(symbol))}){{.source}}"
    heading = "### " + symbol.__qualname__.replace("__", r"\_\_")  # `__call__` would be a bold word
    parts = [heading, source, text, members(symbol)]
    return re.sub(r"(?:^\|.*\n?)+", in_a_box, "\n\n".join(filter(None, parts)), flags=re.M)


def signature(symbol):
    "A function that gives the signature in a match as source code, one parameter a line where it is long"

    def formatted(match: re.Match) -> str:
        text = re.sub(r"\bDatasetV2\b", "tf.data.Dataset", match[0])
        name, parenthesis, rest = text.partition("(")
        code = f"def {name.rpartition('.')[2]}{parenthesis}{rest}: ..."
        ruff = ["ruff", "format", "--line-length", "88", "-"]
        done = subprocess.run(ruff, input=code, capture_output=True, text=True)
        code = (done.stdout or code).strip().removesuffix("...").rstrip().removesuffix(":")
        return code.replace("def ", "class ", 1) if inspect.isclass(symbol) else code

    return formatted


def in_a_box(table: re.Match) -> str:
    "A table that can be scrolled sideways on a phone, in which `<class>` is text and not HTML"
    rows = re.sub(r"(`[^`]*`|</?code>)|<(?!https?:)", lambda part: part[1] or "&lt;", table[0])
    return f"\n::: {{.parameters}}\n{rows.rstrip()}\n:::\n"


def members(symbol) -> str:
    "A table of a class's own public methods and properties, with the first line of each docstring"
    rows = []
    for name, member in vars(symbol).items() if inspect.isclass(symbol) else ():
        function = getattr(member, "fget", None) or api.unwrapped(member)
        if name[0] != "_" and inspect.isfunction(function) and function.__doc__:
            given = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
            call = name if isinstance(member, property) else f"{name}({', '.join(given)})"
            rows.append([f"`{call}`", api.summary(function)])
    return api.table(rows, ["Member", "What it does"])
