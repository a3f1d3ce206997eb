"""What a public name looks like on the site: its signature, its docstring, a table of its parameters, its source.

nbdev itself would run every cell with an import in it, print no table of parameters and leave out the code of the package;
settings.ini names `Documentation` in place of that.
"""

import ast
import importlib
import inspect
import re
import subprocess

from execnb.nbio import mk_cell
from fastcore.docments import docments
from nbdev.doclinks import NbdevLookup
from nbdev.process import Processor
from nbdev.processors import _default_exp
from smalldocs import api

from documentation.links import linked


class Documentation(Processor):
    "Puts the documentation of public names before their code, which is folded then"

    def __init__(self, nb):
        super().__init__(nb)
        self.module = _default_exp(nb)  # Read now: later processors remove the cell that has it

    def begin(self):
        self.nb.cells = [new for cell in self.nb.cells for new in self.documented(cell)]

    def documented(self, cell) -> list:
        "What is on the page for a cell"
        kinds = set(cell.directives_) if cell.cell_type == "code" else set()
        exported = kinds & {"export", "exports", "exporti"}
        body = [n for n in cell.parsed_() or [] if not isinstance(n, ast.Import | ast.ImportFrom)]
        shown = cell.cell_type == "code" and cell.source.startswith("show_doc(")
        if shown or kinds & {"hide", "default_exp"} or exported and not body:
            return []
        if not exported:
            return [cell]
        names = [node.name for node in body if hasattr(node, "name")]
        public = [name for name in names if name[0] != "_"]
        fold = "true" if public else "show"
        summary = "Source" + (f" of {', '.join(names)}" if names else "")
        cell.source = f'#| code-fold: {fold}\n#| code-summary: "{summary}"\n{cell.source}'
        module = importlib.import_module(f"foodvision.{self.module}")
        texts = [linked(described(getattr(module, name))) for name in public]
        return [*[mk_cell(NbdevLookup().linkify(text), "markdown") for text in texts], cell]


def described(symbol) -> str:
    "The Markdown of a public name: heading, link to the source, signature, docstring, parameters, members"
    _, _, text = api.entry(symbol, 3).partition("\n\n")
    if getattr(symbol, "_is_protocol", False):  # nobody makes one: its members say what it is
        text = api.doc(symbol)
    line = r"(?<=```python\n).+(?=\n```)"
    text = in_plain_words(symbol, text)
    text = re.sub(line, lambda match: signature(symbol, match[0]), text, count=1)
    text = re.sub(r"(?<![(<`])https?://[^\s<>()`]*[^\s<>()`.,;]", r"<\g<0>>", text)
    # nbdev would link a parameter's name in backticks to a function of that name.
    text = re.sub(r"^\| `(\w+)` \|", r"| <code>\1</code> |", text, flags=re.M)
    name = f"{symbol.__module__}.{symbol.__qualname__}"
    file = NbdevLookup().code(name).partition("#")[0]
    source = f"[source]({file}#L{api.line_of(inspect.unwrap(symbol))}){{.source}}"
    heading = "### " + symbol.__qualname__.replace("__", r"\_\_")  # `__call__` would be a bold word
    parts = [heading, source, text, members(symbol)]
    return re.sub(r"(?:^\|.*\n?)+", in_a_box, "\n\n".join(filter(None, parts)), flags=re.M)


def in_plain_words(symbol, text: str) -> str:
    "What `repr` gives for a default, a type or a kind of parameter, as source code says it"
    text = text.replace("<function function>", "tf.function")
    text = re.sub(r"<[\w.]*?(\w+) object>", r"\1()", text)

    def row(match: re.Match) -> str:
        name, kind, comment = match.groups()
        comment = comment or docments(symbol, args_kwargs=True).get(name) or ""
        return f"| `{'*' if kind == 'P' else '**'}{name}` |  |  | {comment} |"

    variable = r"^\| `(\w+)` \| <_ParameterKind\.VAR_(\w)\w+: \d> \| required \| (.*) \|$"
    return re.sub(variable, row, text, flags=re.M)


def signature(symbol, line: str) -> str:
    "A signature as source code, one parameter a line where it is long"
    line = line.removeprefix(symbol.__qualname__).replace("DatasetV2", "tf.data.Dataset")
    code = f"def {symbol.__name__}{line}: ..."
    ruff = subprocess.run(["ruff", "format", "-"], input=code, capture_output=True, text=True)
    code = (ruff.stdout or code).strip().removesuffix("...").rstrip().removesuffix(":")
    return code.replace("def ", "class ", 1) if inspect.isclass(symbol) else code


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
