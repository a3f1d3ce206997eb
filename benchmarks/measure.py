"""What every benchmark here shares: alternatives measured in turn, in one run on one machine, and written down.

A benchmark by which a default is decided (`ablation`, `audit`) reads no test photos: `to_decide_on` takes them away and
cuts validation photos from the training photos. The others measure time, or finished recipes on the test photos.

A measurement alone says little, as machines differ and are shared. So the alternatives of a question take turns, round
after round, and each round gives ratios of its own; the median over the rounds is the figure, the lowest and the
highest stand beside it, and the machine and its load are named.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # the package beside this folder, installed or not
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def options(
    description,
    repeats=5,
    backbone="EfficientNetLite0",
    image_size=128,
    data="sample",
    decides=False,
):
    "The options that every benchmark has; one that `decides` on a default takes validation photos in place of test photos"
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data", default=data, help=f"`sample`, `food101` or a folder of photos (default: {data})"
    )
    parser.add_argument(
        "--classes", type=int, default=0, help="only so many of its classes (default: all)"
    )
    parser.add_argument(
        "--photos-per-class",
        type=int,
        default=0,
        help="only so many training photos of each (default: all)",
    )
    if decides:
        parser.add_argument("--validation-photos-per-class", type=int, default=0,
                            help="decide on so many of each, cut from the training photos (default: as many as of the test)")  # fmt: skip
    else:
        parser.add_argument(
            "--test-photos-per-class",
            type=int,
            default=0,
            help="only so many test photos of each (default: all)",
        )
    parser.add_argument(
        "--seed",
        type=int,
        default=-1,
        help="draw those photos at random, and train, by this seed (default: the first)",
    )
    parser.add_argument(
        "--backbone", default=backbone, help=f"as in `foodvision train` (default: {backbone})"
    )
    parser.add_argument(
        "--weights", default="imagenet", help="as in `foodvision train` (default: imagenet)"
    )
    parser.add_argument(
        "--image-size", type=int, default=image_size, help=f"pixels (default: {image_size})"
    )
    parser.add_argument("--repeats", type=int, default=repeats, help=f"rounds (default: {repeats})")
    parser.add_argument(
        "--out", default="runs/benchmarks", help="folder to write to (default: runs/benchmarks)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="as little as shows that it works; its figures mean nothing",
    )
    return parser


def passed_on(chosen, **changes):
    "Those options that say what is trained on what, as words for a script of this folder"
    names = (
        "data",
        "classes",
        "photos_per_class",
        "test_photos_per_class",
        "seed",
        "backbone",
        "weights",
        "image_size",
    )
    values = (
        {name: getattr(chosen, name) for name in names} | {"data": folder_of(chosen.data)} | changes
    )
    return [
        word for name, value in values.items() for word in ("--" + name.replace("_", "-"), value)
    ]


def in_turn(alternatives, repeats):
    """Call each of the named functions once a round; a list of what it returned by name.

    Each round begins with another one, so that none always runs on a machine that the same neighbour has warmed.
    """
    names, values = list(alternatives), {name: [] for name in alternatives}
    for turn in range(repeats):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            values[name].append(alternatives[name]())
            print(f"  round {turn + 1} of {repeats}: {name}", file=sys.stderr, flush=True)
    return values


def seconds(function, *arguments):
    "How long a call takes"
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def process(command, **environment):
    """Run a command to its end: `seconds` and `megabytes` (peak of its largest process), and its `result`.

    The result is the JSON that a command with `{json}` among its words writes to the file put there.
    """
    inherited = dict(os.environ)
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start would compile TensorFlow anew
    with tempfile.TemporaryDirectory() as folder:
        answer, said = Path(folder) / "result.json", Path(folder) / "said"
        words = [str(word).replace("{json}", str(answer)) for word in command]
        with open(said, "wb") as output:
            start = time.perf_counter()
            started = subprocess.Popen(words, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                       env={**inherited, **environment})  # fmt: skip
            _, status, usage = os.wait4(started.pid, 0)
            passed = time.perf_counter() - start
        started.returncode = os.waitstatus_to_exitcode(status)
        if started.returncode:
            text = said.read_text(errors="replace")[-4000:]
            raise SystemExit(
                f"{' '.join(words)} ended with exit code {started.returncode}:\n{text}"
            )
        result = json.loads(answer.read_text()) if answer.exists() else None
        unit = 1e6 if sys.platform == "darwin" else 1e3  # macOS counts bytes, Linux kibibytes
        return {"seconds": passed, "megabytes": usage.ru_maxrss * 1.024 / unit if unit == 1e3 else usage.ru_maxrss / unit,
                "result": result}  # fmt: skip


def python_files(name, *words):
    "The command that runs a script of this folder with this Python and has it answer in JSON"
    return [sys.executable, HERE / name, *words, "--json", "{json}"]


def test_scores(scores, labels):
    "Top-1 and top-5 accuracy of scores (n, classes) as shares"
    best = scores.argsort(axis=1)[:, ::-1][:, :5] == labels[:, None]
    return {"test_accuracy": float(best[:, 0].mean()), "test_top_5": float(best.any(axis=1).mean())}


def write_answer(chosen, name, result, test_photos):
    "Print how good a finished training is and write its `result` where the options say, as JSON"
    print(f"test accuracy {result['test_accuracy']:.1%} on all {test_photos:,} test photos")
    place = Path(chosen.json or Path(chosen.out) / f"{name}.json")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"Written: {place}")


def scores_of_last(stages):
    "The test scores of the stage that was trained last"
    last = list(stages.values())[-1]
    return {name: last[name] for name in ("test_accuracy", "test_top_5")}


def machine():
    "What the figures were measured on"
    from foodvision.precision import device_summary
    from foodvision.system import package_versions

    return {**device_summary(), "versions": package_versions()}


def some_of(data, classes=0, photos=0, seed=None, test_photos=0):
    """Data with so many of its classes, evenly spread over the alphabet, and at most so many training and test photos of each.

    Validation photos are cut in proportion to training photos; 0 keeps all. The first photos are taken, or with a
    seed random ones.
    """
    import numpy as np

    count = len(data.class_names)
    kept = (
        np.unique(np.linspace(0, count - 1, classes).astype(int))
        if 0 < classes < count
        else np.arange(count)
    )
    random = None if seed is None else np.random.default_rng(seed)

    def cut(split, most):
        members = [np.flatnonzero(split.labels == label) for label in kept]
        members = members if random is None else [random.permutation(one) for one in members]
        part = split.take(np.sort(np.concatenate([one[:most] for one in members])))
        part.labels = np.searchsorted(kept, part.labels).astype("int32")
        return part

    share = len(data.validation) / max(len(data.train), 1)
    return replace(data, class_names=tuple(data.class_names[label] for label in kept), train=cut(data.train, photos or None),
                   validation=cut(data.validation, photos and max(1, round(photos * share)) or None),
                   test=cut(data.test, test_photos or None))  # fmt: skip


def to_decide_on(data, photos=0):
    """Data without its test photos, and validation photos cut from its training photos: what a default may be decided on.

    Where the data says which its validation photos are, they are those. Else they are `photos` of each class, or as many
    as it has test photos, and never more than half of its training photos. They are the same whenever they are cut, so
    no round trains on a photo that it or another round decides on.
    """
    import numpy as np

    from foodvision.data import split_validation

    no_test = data.test.take(slice(0, 0))
    if data.validation_given:
        kept = data.name, data.class_names, data.train, no_test, 0.1, 0, list(data.notes)
        return split_validation(*kept), data.validation
    random, cut = np.random.default_rng(0), np.zeros(len(data.train), bool)
    tests = np.bincount(data.test.labels, minlength=len(data.class_names))
    for label in range(len(data.class_names)):
        members = random.permutation(np.flatnonzero(data.train.labels == label))
        cut[members[: min(photos or max(tests[label], 1), len(members) // 2)]] = True
    return replace(data, train=data.train.take(~cut), test=no_test), data.train.take(cut)


def load(chosen):
    "The photos that the options ask for"
    from foodvision.food101 import load_data

    seed = None if chosen.seed < 0 else chosen.seed
    return some_of(
        load_data(chosen.data),
        chosen.classes,
        chosen.photos_per_class,
        seed,
        chosen.test_photos_per_class,
    )


def load_to_decide(chosen):
    "All photos of the classes that the options ask for but test photos, and apart from them the validation photos to decide on"
    from foodvision.food101 import load_data

    return to_decide_on(
        some_of(load_data(chosen.data), chosen.classes), chosen.validation_photos_per_class
    )


def folder_of(source):
    "Data as a process with an empty cache can load it: the drawn sample is drawn now and named as a folder"
    if source != "sample":
        return source
    from foodvision.drawing import sample_directory

    return str(sample_directory())


def describe(data):
    "What a reader has to know about the photos"
    import numpy as np

    from foodvision.data import photo_sizes

    width, height = np.median(photo_sizes(data.train), axis=0).astype(int)
    counts = {name: len(split) for name, split in data.splits.items()}
    return {
        "name": data.name,
        "classes": len(data.class_names),
        **counts,
        "pixels": f"{width} x {height}",
    }


class Report:
    "Tables, targets and remarks of one benchmark, written as Markdown, JSON and a picture"

    def __init__(self, name, title, settings, data=None):
        kept = {
            key: value
            for key, value in vars(settings).items()
            if key not in ("out", "data", "json", "python")
        }
        self.name, self.out = name, Path(settings.out)
        self.content = {
            "benchmark": name, "title": title, "date": time.strftime("%Y-%m-%d %H:%M"), "settings": kept,
            "data": data and describe(data), "load_before": _load(), "tables": [], "targets": [], "remarks": [],
        }  # fmt: skip

    def table(self, title, unit, values, baseline, better="lower"):
        """Add a table: a row for each alternative, from its `values` by round.

        `times` is how many times better than the baseline it was in the same round: median, lowest, highest. With
        `better="more"` a row has `more` instead, how much more it was: the mean and the ends of its 95 % interval.
        """
        rows = []
        for name, measured in values.items():
            pairs = list(zip(measured, values[baseline]))
            if better == "more":
                compared = {"more": mean_with_interval([mine - other for mine, other in pairs])}
            else:
                times = [
                    other / mine if better == "lower" else mine / other for mine, other in pairs
                ]
                compared = {"times": _spread(times)}
            rows.append({"name": name, **_spread(measured), **compared, "values": _round(measured)})
        self.content["tables"].append(
            {"title": title, "unit": unit, "better": better, "baseline": baseline, "rows": rows}
        )
        return {row["name"]: row for row in rows}

    def target(self, what, measured, at_least=None, at_most=None):
        "Add what was aimed at, with what was reached"
        met = measured >= at_least if at_most is None else measured <= at_most
        bound = f"at least {at_least:g}" if at_most is None else f"at most {at_most:g}"
        self.content["targets"].append(
            {"what": what, "target": bound, "measured": _round(measured), "met": bool(met)}
        )

    def remark(self, text):
        "Add a sentence, and print it"
        self.content["remarks"].append(text)
        print(text, flush=True)

    def write(self):
        "Write the three files, print the tables, and say where everything is"
        self.content.update(machine=machine(), load_after=_load())
        self.out.mkdir(parents=True, exist_ok=True)
        place = self.out / f"{self.name}.json"
        place.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        (self.out / f"{self.name}.md").write_text(markdown(self.content), encoding="utf-8")
        figure = plot(self.content)
        figure.savefig(self.out / f"{self.name}.png", dpi=120, metadata={"Software": None})
        print("\n" + markdown(self.content))
        print(f"Written: {place}, and beside it {self.name}.md and {self.name}.png")


def _load():
    "Processes that wanted a core during the last minute, on average"
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _round(value):
    "Four digits are more than any of this is good for"
    return [_round(one) for one in value] if isinstance(value, list) else float(f"{value:.4g}")


def _spread(values):
    "Median, lowest and highest"
    return dict(
        zip(
            ("median", "low", "high"), _round([statistics.median(values), min(values), max(values)])
        )
    )


def mean_with_interval(values):
    "Mean of several rounds and the 95 % interval of the mean by Student's t; one round has no interval"
    from scipy.stats import t as student

    mean = statistics.fmean(values)
    half = (
        student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
        if len(values) > 1
        else 0
    )
    return dict(zip(("mean", "low", "high"), _round([mean, mean - half, mean + half])))


def number(value):
    "Three digits, thousands apart"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{float(f'{value:.3g}'):g}"


def markdown(content):
    "A benchmark's content as a page of Markdown"
    parts = [f"## {content['title']}", conditions(content)]
    for table in content["tables"]:
        parts += [f"### {table['title']}", markdown_table(table)]
    if content["targets"]:
        rows = [f"| {t['what']} | {t['target']} | {number(t['measured'])} | {'yes' if t['met'] else 'no'} |"
                for t in content["targets"]]  # fmt: skip
        parts += [
            "\n".join(
                ["| what was aimed at | target | measured | met |", "| :- | -: | -: | :- |", *rows]
            )
        ]
    return "\n\n".join(parts + content["remarks"]) + "\n"


def markdown_table(table):
    "One table: an alternative a row"
    more = table["better"] == "more"
    compared = (
        f"more than {table['baseline']} (95 % interval)"
        if more
        else f"times better than {table['baseline']}"
    )
    lines = [
        f"| | {table['unit']}, median | lowest to highest | {compared} |",
        "| :- | -: | -: | -: |",
    ]
    for row in table["rows"]:
        spread = f"{number(row['low'])} to {number(row['high'])}"
        lines.append(
            f"| {row['name']} | {number(row['median'])} | {spread} | {_compared(row, table)} |"
        )
    return "\n".join(lines)


def _compared(row, table):
    "How a row stands beside the baseline"
    if table["better"] == "more":
        mean, low, high = (row["more"][name] for name in ("mean", "low", "high"))
        interval = f" ({low:+.2g} to {high:+.2g})" if len(row["values"]) > 1 else ""
        return "0" if row["name"] == table["baseline"] else f"{mean:+.2g}{interval}"
    times = row["times"]
    return "1" if row["name"] == table["baseline"] else (
        f"{number(times['median'])} ({number(times['low'])} to {number(times['high'])})")  # fmt: skip


def conditions(content):
    "What was measured on what, in one sentence"
    device, data, settings = content["machine"], content["data"], content["settings"]
    accelerators = ", ".join(gpu["name"] for gpu in device["accelerators"]) or "no accelerator"
    versions = ", ".join(
        f"{name} {version}" for name, version in device["versions"].items() if name != "foodvision"
    )
    words = [f"{content['date']} on {device['processor']}, {device['cores']} cores, {device['memory_gigabytes']} GB, "
             f"{accelerators}; {versions}"]  # fmt: skip
    if data:
        counts = [f"{data[part]:,} {name}" for part, name in
                  (("train", "training"), ("validation", "validation"), ("test", "test")) if data[part]]  # fmt: skip
        words.append(f"{data['name']}: {data['classes']} classes, {', '.join(counts[:-1])} and {counts[-1]} photos of "
                     f"{data['pixels']} pixels (median)")  # fmt: skip
    if "backbone" in settings:
        words.append(f"{settings['backbone']} at {settings['image_size']} pixels")
    rounds = "one round" if settings["repeats"] == 1 else f"{settings['repeats']} rounds"
    words.append(f"{rounds}; load of the machine {content['load_before']} before, "
                 f"{content['load_after']} after")  # fmt: skip
    if settings.get("quick"):
        words.append("a quick look, whose figures mean nothing")
    return "; ".join(words) + "."


def plot_curves(curves):
    "Accuracy against training time: a line for each tool, a dot for each of its trainings"
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        own = name == "foodvision"
        axes.plot(
            *zip(*points), "o-", label=name, linewidth=3 if own else 1.5, zorder=3 if own else 2
        )
    axes.set(xscale="log", xlabel="seconds of training", ylabel="top-1 on the test photos, %")
    low, high = axes.get_xlim()
    round_numbers = (factor * 10**power for power in range(6) for factor in (1, 2, 5))
    axes.set_xticks([number for number in round_numbers if low <= number <= high])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot(content):
    "Curves if there are any; else a panel for each table: a bar for the median, a dot for each round"
    from matplotlib.figure import Figure

    if content.get("curves"):
        return plot_curves(content["curves"])
    tables = content["tables"]
    heights = [1 + 0.42 * len(table["rows"]) for table in tables]
    figure = Figure(figsize=(8, sum(heights)), layout="constrained")
    panels = figure.subplots(len(tables), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, table in zip(panels, tables):
        for place, row in enumerate(table["rows"]):
            color = "tab:gray" if row["name"] == table["baseline"] else "tab:orange"
            axes.barh(place, row["median"], color=color, alpha=0.6)
            axes.plot(row["values"], [place] * len(row["values"]), "o", color="black", markersize=3)
            axes.annotate(f" {number(row['median'])}", (max(row["values"]), place), (4, 0), textcoords="offset points",
                          va="center", fontsize=9)  # fmt: skip
        axes.set(
            yticks=range(len(table["rows"])),
            yticklabels=[row["name"] for row in table["rows"]],
            xlabel=table["unit"],
        )
        axes.set_title(table["title"], fontsize=10, loc="left")
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
