"""Peers: the same backbone and photos trained with PyTorch and timm, with fastai, with Keras' own data set reader, and with ours.

Each is a process of its own, in turn: some epochs of the head on the frozen backbone, then some of all layers. The plain
scripts take batches of 32, augment nothing and leave batch norm as it is; fastai's `fine_tune` and ours are as people get
them: both augment, watch 15 % of the training photos, and choose their learning rates over time. Ours is there once more with
the epochs it has by default. PyTorch and fastai run in an environment of their own (requirements.txt); without --python they
are left out. The test photos say how good each is in the end, and no default is decided by that.
"""

import tempfile
from pathlib import Path

import measure


def lay_out(data, folder):
    "Links to the photos as `train/<class>/` and `test/<class>/`; all of a class's training photos are in `train`"
    for split, part in ((data.train, "train"), (data.validation, "train"), (data.test, "test")):
        for i in range(len(split)):
            place = (
                folder / part / data.class_names[split.labels[i]] / Path(str(split.names[i])).name
            )
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(split.path(i).resolve())
    return folder


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=3)
    parser.add_argument(
        "--python", default="", help="Python of an environment with PyTorch, timm and fastai"
    )
    parser.add_argument(
        "--feature-epochs", type=int, default=3, help="epochs of stage 1 (default: 3)"
    )
    parser.add_argument(
        "--fine-tune-epochs", type=int, default=2, help="epochs of stage 2 (default: 2)"
    )
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats, chosen.feature_epochs, chosen.fine_tune_epochs = 1, 1, 0
    if chosen.python and chosen.backbone != "EfficientNetLite0":
        raise SystemExit(
            "PyTorch is compared on EfficientNetLite0, whose weights are the same file for all."
        )
    chosen.data = measure.folder_of(chosen.data)
    data = measure.load(chosen)
    report = measure.Report("peers", "The same backbone and photos with other tools", chosen, data)
    with tempfile.TemporaryDirectory() as folder:
        photos = lay_out(data, Path(folder) / "photos")
        common = [
            "--data",
            photos,
            "--backbone",
            chosen.backbone,
            "--weights",
            chosen.weights,
            "--image-size",
            chosen.image_size,
        ]
        words = [
            *common,
            "--feature-epochs",
            chosen.feature_epochs,
            "--fine-tune-epochs",
            chosen.fine_tune_epochs,
        ]
        commands = {
            "Keras, image_dataset_from_directory": measure.python_files("peer_keras.py", *words)
        }
        if chosen.python:
            for name, script in (
                ("PyTorch with timm", "peer_pytorch.py"),
                ("fastai, fine_tune", "peer_fastai.py"),
            ):
                commands[name] = [chosen.python, measure.HERE / script, *words, "--json", "{json}"]
        commands["foodvision"] = measure.python_files("our_recipe.py", *words)
        if not chosen.quick:
            own = ["--feature-epochs", 20, "--fine-tune-epochs", 5]
            commands["foodvision, 20 + 5 epochs"] = measure.python_files(
                "our_recipe.py", *common, *own
            )
        caches = iter(range(10**6))
        measured = measure.in_turn({
            name: lambda command=command: measure.process(command, XDG_CACHE_HOME=f"{folder}/cache-{next(caches)}")["result"]
            for name, command in commands.items()
        }, chosen.repeats)  # fmt: skip
    baseline = next(iter(commands))
    stages = measured[baseline][0]["stages"]
    for stage, title in (
        ("feature_extraction", "Stage 1, the head: {} epochs"),
        ("fine_tuning", "Stage 2, all layers: {} epochs"),
    ):
        if stage not in stages:
            continue
        values = {
            name: [answer["stages"][stage]["seconds"] for answer in found]
            for name, found in measured.items()
        }
        report.table(title.format(stages[stage]["epochs"]), "seconds", values, baseline)
    spent = {
        name: [sum(stage["seconds"] for stage in answer["stages"].values()) for answer in found]
        for name, found in measured.items()
    }
    report.table("Both stages", "seconds", spent, baseline)
    accuracy = {
        name: [100 * answer["test_accuracy"] for answer in found]
        for name, found in measured.items()
    }
    report.table(f"Top-1 on {len(data.test):,} test photos", "%", accuracy, baseline, better="more")
    for name, found in measured.items():
        if versions := found[0].get("versions"):
            report.remark(
                f"{name}: " + ", ".join(f"{key} {value}" for key, value in versions.items()) + "."
            )
    if not chosen.python:
        report.remark(
            "PyTorch and fastai were left out: no --python with an environment that holds benchmarks/requirements.txt."
        )
    report.write()


if __name__ == "__main__":
    main()
