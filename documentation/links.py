"""Names of other libraries in backticks lead to their documentation, as nbdev leads the project's own to their page.

nbdev does this for libraries that bring an index of their names; Keras, TensorFlow and the others bring none. And where
two modules have a name, nbdev takes the first: a command then hides the function behind it, which is set right here.
"""

import re

from nbdev.process import Processor
from nbdev.processors import _default_exp

from foodvision._modidx import d as index

KERAS, PYTHON = "https://keras.io/api", "https://docs.python.org/3/library"
PAGES = {
    "keras.Model": f"{KERAS}/models/model/",
    "keras.Layer": f"{KERAS}/layers/base_layer/",
    "keras.Optimizer": f"{KERAS}/optimizers/",
    "keras.Callback": f"{KERAS}/callbacks/base_callback/",
    "keras.applications": f"{KERAS}/applications/",
    "keras.saving.load_model": f"{KERAS}/models/model_saving_apis/model_saving_and_loading/",
    "keras.ops": f"{KERAS}/ops/",
    "BackupAndRestore": f"{KERAS}/callbacks/backup_and_restore/",
    "EarlyStopping": f"{KERAS}/callbacks/early_stopping/",
    "ModelCheckpoint": f"{KERAS}/callbacks/model_checkpoint/",
    "ReduceLROnPlateau": f"{KERAS}/callbacks/reduce_lr_on_plateau/",
    "LossScaleOptimizer": f"{KERAS}/optimizers/loss_scale_optimizer/",
    "EfficientNetB0": f"{KERAS}/applications/efficientnet/",
    "tf.data": "https://www.tensorflow.org/guide/data",
    "AUTOTUNE": "https://www.tensorflow.org/api_docs/python/tf/data#AUTOTUNE",
    "PIL.Image": "https://pillow.readthedocs.io/en/stable/reference/Image.html",
    "numpy.random.Generator": "https://numpy.org/doc/stable/reference/random/generator.html",
    "Path": f"{PYTHON}/pathlib.html#pathlib.Path",
    "os.system": f"{PYTHON}/os.html#os.system",
    "ValueError": f"{PYTHON}/exceptions.html#ValueError",
    "OSError": f"{PYTHON}/exceptions.html#OSError",
}
PATTERNS = {  # where a library's pages are named after what they describe
    r"tf\.([\w.]+)": lambda name: (
        f"https://www.tensorflow.org/api_docs/python/tf/{name.replace('.', '/')}"
    ),
    r"(keras\.[\w.]+)": lambda name: f"{KERAS}/",
    r"(numpy\.[\w.]+)": lambda name: (
        f"https://numpy.org/doc/stable/reference/generated/{name}.html"
    ),
    r"(matplotlib\.[\w.]+)": lambda name: f"https://matplotlib.org/stable/api/_as_gen/{name}.html",
}
FENCE = re.compile(r"(^```.*?^```[ \t]*$)", re.M | re.S)
# A name in backticks that is not part of a link yet, nor of a longer run of backticks
NAME = re.compile(r"(?<![\[`\w])`([A-Za-z_][\w.]*)(?:\(\))?`(?![`\]])")

PERCENT = re.compile(
    r"(`[^`]*`)|(?<=\d) %"
)  # code, which stays as it is, or a percent sign after its number


def page_of(name: str) -> str | None:
    "Address of the page that describes a name of another library"
    found = ((re.fullmatch(pattern, name), address) for pattern, address in PATTERNS.items())
    return PAGES.get(name) or next((address(match[1]) for match, address in found if match), None)


def linked(markdown: str) -> str:
    "Markdown with a link on every name in backticks that another library describes, and a number and its percent sign on one line"

    def link(match: re.Match) -> str:
        page = page_of(match[1])
        return f"[{match[0]}]({page})" if page else match[0]

    def prose(text: str) -> str:
        return NAME.sub(link, PERCENT.sub(lambda match: match[1] or "\N{NO-BREAK SPACE}%", text))

    return "".join(
        part if part.startswith("```") else prose(part) for part in FENCE.split(markdown)
    )


class LinkLibraries(Processor):
    "Puts the links into the prose of a notebook"

    def cell(self, cell):
        if cell.cell_type == "markdown":
            cell.source = linked(cell.source)


COMMANDS = "foodvision.cli"
TO_COMMAND = re.compile(r"(\[`(\w+)(?:\(\))?`\]\([^)\s]*/)cli\.html#\w+\)")


def functions_of_commands() -> dict[str, str]:
    "The page of each function that has the name of the command which calls it"
    names = {symbol.rpartition(".")[2] for symbol in index["syms"][COMMANDS]}
    others = (symbols for module, symbols in index["syms"].items() if module != COMMANDS)
    pages = {
        symbol.rpartition(".")[2]: page
        for symbols in others
        for symbol, (page, _) in symbols.items()
    }
    return {name: page for name, page in pages.items() if name in names}


class LinkFunctions(Processor):
    "A name in prose means the function and not the command, except in the chapter on commands; runs after nbdev's links"

    def __init__(self, nb):
        super().__init__(nb)
        self.pages = (
            {} if _default_exp(nb) == COMMANDS.rpartition(".")[2] else functions_of_commands()
        )

    def cell(self, cell):
        if cell.cell_type == "markdown":
            cell.source = TO_COMMAND.sub(self._to_function, cell.source)

    def _to_function(self, match: re.Match) -> str:
        return f"{match[1]}{self.pages[match[2]]})" if match[2] in self.pages else match[0]
