"""Peers: the same backbone and photos trained with PyTorch and timm, with Keras' own data set reader, and with ours.

Each is a process of its own, in turn: 3 epochs of the head on the frozen backbone, then 2 of all layers but batch norm,
batches of 32. PyTorch runs in an environment of its own (requirements.txt); without --python it is left out. Ours is
as `foodvision train` does it, so stage 1 is one pass and stage 2 augments its photos, which the others do not.
"""
import tempfile
from pathlib import Path

import measure


def lay_out(data, folder):
    "Links to the photos as `train/<class>/` and `test/<class>/`; all of a class's training photos are in `train`"
    for split, part in ((data.train, "train"), (data.validation, "train"), (data.test, "test")):
        for i in range(len(split)):
            place = folder / part / data.class_names[split.labels[i]] / Path(str(split.names[i])).name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(split.path(i).resolve())
    return folder


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--python", default="", help="Python of an environment with PyTorch and timm")
    parser.add_argument("--feature-epochs", type=int, default=3, help="epochs of stage 1 (default: 3)")
    parser.add_argument("--fine-tune-epochs", type=int, default=2, help="epochs of stage 2 (default: 2)")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats, chosen.feature_epochs, chosen.fine_tune_epochs = 1, 1, 0
    from foodvision.data import load_data

    if chosen.python and chosen.backbone != "EfficientNetLite0":
        raise SystemExit("PyTorch is compared on EfficientNetLite0, whose weights are the same file for all.")
    data = load_data(measure.folder_of(chosen.data))
    report = measure.Report("peers", "The same backbone and photos with other tools", chosen, data)
    with tempfile.TemporaryDirectory() as folder:
        photos = lay_out(data, Path(folder) / "photos")
        words = ["--data", photos, "--backbone", chosen.backbone, "--weights", chosen.weights,
                 "--image-size", chosen.image_size, "--feature-epochs", chosen.feature_epochs,
                 "--fine-tune-epochs", chosen.fine_tune_epochs]  # fmt: skip
        commands = {"Keras, image_dataset_from_directory": measure.python_files("peer_keras.py", *words)}
        if chosen.python:
            commands["PyTorch with timm"] = [chosen.python, measure.HERE / "peer_pytorch.py", *words, "--json", "{json}"]
        commands["foodvision"] = measure.python_files("our_recipe.py", *words)
        caches = iter(range(10**6))
        measured = measure.in_turn({
            name: lambda command=command: measure.process(command, XDG_CACHE_HOME=f"{folder}/cache-{next(caches)}")["result"]
            for name, command in commands.items()
        }, chosen.repeats)  # fmt: skip
    baseline = next(iter(commands))
    stages = measured[baseline][0]["stages"]
    for stage, title in (("feature_extraction", "Stage 1, the head: {} epochs"), ("fine_tuning", "Stage 2, all layers: {} epochs")):
        if stage not in stages:
            continue
        values = {name: [answer["stages"][stage]["seconds"] for answer in found] for name, found in measured.items()}
        report.table(title.format(stages[stage]["epochs"]), "seconds", values, baseline)
    for name, found in measured.items():
        accuracies = ", ".join(f"{answer['test_accuracy']:.1%}" for answer in found)
        report.remark(f"{name}: test accuracy {accuracies} ({len(data.test)} photos)"
                      + "".join(f"; {key} {value}" for key, value in found[0].get("versions", {}).items()) + ".")  # fmt: skip
    if not chosen.python:
        report.remark("PyTorch was left out: no --python with an environment that holds benchmarks/requirements.txt.")
    report.write()


if __name__ == "__main__":
    main()
