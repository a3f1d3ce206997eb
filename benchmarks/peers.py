"""Peers: accuracy against training time of the same backbone and photos, with other tools and with this package.

Each tool trains for several numbers of epochs, each time in a process of its own with nothing cached, and in the way that its
own guide or default shows: PyTorch with timm's augmentation, label smoothing and cosine schedule; fastai's `fine_tune`; Keras'
guide to transfer learning; the tutorial's recipe; and this package's `quick` for one or two epochs, `standard` for more. The time
is that of training: decoding, stage 1 and stage 2, without imports and without the final measurement. PyTorch and fastai run in
an environment of their own (requirements.txt); without --python they are left out. The test photos say how good each is in the
end, and no default is decided by that.
"""

import statistics
import tempfile
from pathlib import Path

import measure

TIMM, OURS, TUTORIAL = "PyTorch with timm", "foodvision", "the tutorial's recipe"


def lay_out(data, folder):
    "Links to the photos as `train/<class>/` and `test/<class>/`; all of a class's training photos are in `train`"
    for name, split in data.splits.items():
        part = "test" if name == "test" else "train"
        for i in range(len(split)):
            photo = f"{name}_{i:06d}{Path(split.path(i)).suffix}"  # names may repeat in folders
            place = folder / part / data.class_names[split.labels[i]] / photo
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(split.path(i).resolve())
    return folder


def commands(chosen, photos):
    "For each tool, the command that trains it for a number of epochs"
    common = ["--data", photos, "--backbone", chosen.backbone, "--weights", chosen.weights]
    common += ["--image-size", chosen.image_size]
    words = lambda epochs: [*common, "--fine-tune-epochs", epochs]
    script = lambda name, *more: lambda epochs: measure.python_files(name, *words(epochs), *more)
    other = lambda name: (
        lambda epochs: [chosen.python, measure.HERE / name, *words(epochs), "--json", "{json}"]
    )
    recipe = lambda epochs: "quick" if epochs <= 2 else "standard"
    tools = {TUTORIAL: script("tutorial.py"), "Keras' guide": script("peer_keras.py")}
    if chosen.python:
        tools[TIMM] = other("peer_pytorch.py")
        tools["fastai, fine_tune"] = other("peer_fastai.py")
    own = lambda epochs: ["--feature-epochs", 20, "--recipe", recipe(epochs)]
    tools[OURS] = lambda epochs: script("our_recipe.py", *own(epochs))(epochs)
    return tools


def measure_all(chosen, data):
    "Seconds and accuracy of each tool after each number of epochs, by round"
    with tempfile.TemporaryDirectory() as folder:
        tools = commands(chosen, lay_out(data, Path(folder) / "photos"))
        caches = iter(range(10**6))

        def train(command, epochs):
            cache = {"XDG_CACHE_HOME": f"{folder}/{next(caches)}"}
            return measure.process(command(epochs), **cache)["result"]

        alternatives = {
            (name, epochs): lambda command=command, epochs=epochs: train(command, epochs)
            for epochs in chosen.epochs
            for name, command in tools.items()
        }
        return measure.in_turn(alternatives, chosen.repeats)


def spent(answer):
    "Seconds of all stages"
    return sum(stage["seconds"] for stage in answer["stages"].values())


def first_as_good(points, accuracy):
    "The least time in which a tool with these points (seconds, accuracy) was at least as accurate; None if never"
    return min((seconds for seconds, reached in points if reached >= accuracy), default=None)


def write(report, measured):
    "A table of seconds and one of accuracy, the points of the curves, and the time to what PyTorch reached"
    label = lambda name, epochs: f"{name}, {epochs} epoch{'s' if epochs > 1 else ''}"
    seconds = {label(*key): [spent(a) for a in found] for key, found in measured.items()}
    accuracy = {
        label(*key): [100 * a["test_accuracy"] for a in found] for key, found in measured.items()
    }
    baseline = next(iter(seconds))
    report.table("Training", "seconds", seconds, baseline)
    photos = report.content["data"]["test"]
    report.table(f"Top-1 on {photos:,} test photos", "%", accuracy, baseline, better="more")
    curves = {}
    for name, epochs in measured:
        middle = [statistics.median(v[label(name, epochs)]) for v in (seconds, accuracy)]
        curves.setdefault(name, []).append(middle)
    report.content["curves"] = curves
    for longest, reached in curves.get(TIMM, [])[-1:]:
        if (ours := first_as_good(curves[OURS], reached)) is not None:
            report.target("time to PyTorch's last accuracy / its time", ours / longest, at_most=0.75)  # fmt: skip
        else:
            report.remark(f"{OURS} did not reach the {reached:.1f} % of {TIMM} in any of its lengths.")  # fmt: skip
    for name in curves:
        if versions := next(f[0] for key, f in measured.items() if key[0] == name).get("versions"):
            parts = ", ".join(f"{key} {value}" for key, value in versions.items())
            report.remark(f"{name}: {parts}.")
    report.write()


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=1)
    parser.add_argument(
        "--python", default="", help="Python of an environment with PyTorch, timm and fastai"
    )
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 5, 10, 20],
                        help="numbers of epochs of stage 2, each a training (default: 2 5 10 20)")  # fmt: skip
    parser.add_argument("--name", default="peers", help="name of the files written (default: peers)")  # fmt: skip
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats, chosen.epochs = 1, [1]
    if chosen.python and chosen.backbone != "EfficientNetLite0":
        reason = "whose weights are the same file for all"
        raise SystemExit(f"PyTorch is compared on EfficientNetLite0, {reason}.")
    chosen.data = measure.folder_of(chosen.data)
    data = measure.load(chosen)
    title = "The same backbone and photos with other tools"
    report = measure.Report(chosen.name, title, chosen, data)
    measured = measure_all(chosen, data)
    if not chosen.python:
        report.remark(
            "PyTorch and fastai were left out: no --python with an environment that holds benchmarks/requirements.txt."
        )
    write(report, measured)


if __name__ == "__main__":
    main()
