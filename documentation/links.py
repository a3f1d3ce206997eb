"""Names of other libraries in backticks link to their documentation.

nbdev does this for this project's names and for libraries that come with an index of theirs; Keras, TensorFlow and the
others come with none.
"""

import re

from nbdev.process import Processor

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
# A number and its percent sign stay on one line; code stays as it is.
PERCENT = re.compile(r"(`[^`]*`)|(?<=\d) %")

# nbdev links a name to the first module that has it: with the commands last, `train` is the function and not the command.
index["syms"]["foodvision.cli"] = index["syms"].pop("foodvision.cli")
for symbols in index["syms"].values():
    for name, (page, *rest) in symbols.items():
        if re.search(
            r"\._|\w+\.\w+\.\w+\.", name
        ):  # Private names and methods have no heading of their own
            symbols[name] = (page.partition("#")[0], *rest)


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
