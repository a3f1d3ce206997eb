"Names of other libraries in backticks link to their documentation, as nbdev links this project's names"

import re

from nbdev.process import Processor

from foodvision._modidx import d as index

KERAS, PYTHON = "https://keras.io/api", "https://docs.python.org/3/library"
TENSORFLOW = "https://www.tensorflow.org/api_docs/python/tf"
# The first pattern that fits a whole name has its page, in which \1 and so on are groups of the pattern.
PAGES = {
    r"BackupAndRestore|EarlyStopping|ModelCheckpoint|ReduceLROnPlateau": f"{KERAS}/callbacks/",
    r"LossScaleOptimizer": f"{KERAS}/optimizers/loss_scale_optimizer/",
    r"EfficientNetB0": f"{KERAS}/applications/efficientnet/",
    r"keras\.(Model|saving\..+)": f"{KERAS}/models/",
    r"keras\.(applications|callbacks|distribution|layers|ops|optimizers).*": rf"{KERAS}/\1/",
    r"keras\..+": f"{KERAS}/",
    r"tf\.data": "https://www.tensorflow.org/guide/data",
    r"(tf\.data\.)?AUTOTUNE": f"{TENSORFLOW}/data#AUTOTUNE",
    r"tf\.(\w+)": rf"{TENSORFLOW}/\1",
    r"tf\.(\w+)\.(\w+)": rf"{TENSORFLOW}/\1/\2",
    r"(numpy\.[\w.]+)": r"https://numpy.org/doc/stable/reference/generated/\1.html",
    r"(matplotlib\.[\w.]+)": r"https://matplotlib.org/stable/api/_as_gen/\1.html",
    r"PIL\.Image": "https://pillow.readthedocs.io/en/stable/reference/Image.html",
    r"Path": f"{PYTHON}/pathlib.html#pathlib.Path",
    r"(os\.system)": rf"{PYTHON}/os.html#\1",
    r"(ValueError|OSError)": rf"{PYTHON}/exceptions.html#\1",
}
# A name in backticks that is not part of a link yet, nor of a longer run of backticks
NAME = re.compile(r"(?<![\[`\w])`([A-Za-z_][\w.]*)(?:\(\))?`(?![`\]])")

# nbdev links a name to the first module that has it: with the commands last, `train` is the function.
index["syms"]["foodvision.cli"] = index["syms"].pop("foodvision.cli")
for symbols in index["syms"].values():
    for name, (page, *rest) in symbols.items():
        if name.count(".") > 2 or "._" in name:  # Methods and private names have no heading
            symbols[name] = (page.partition("#")[0], *rest)


def linked(markdown: str) -> str:
    "Markdown with links, outside code blocks; a number and its percent sign stay on one line"

    def link(name: re.Match) -> str:
        found = (m.expand(page) for p, page in PAGES.items() if (m := re.fullmatch(p, name[1])))
        page = next(found, None)
        return f"[{name[0]}]({page})" if page else name[0]

    def prose(text: str) -> str:
        percent = re.sub(r"(`[^`]*`)|(?<=\d) %", lambda m: m[1] or "\N{NO-BREAK SPACE}%", text)
        return NAME.sub(link, percent)

    parts = re.split(r"(^```.*?^```[ \t]*$)", markdown, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else prose(part) for part in parts)


class LinkLibraries(Processor):
    def cell(self, cell):
        if cell.cell_type == "markdown":
            # nbdev puts its link into one that is there already: [[`name`](its page)](a page)
            source = re.sub(r"\[(\[`[^`]+`\]\([^)]+\))\]\([^)]*\)", r"\1", cell.source)
            cell.source = linked(source)
