"""Time to accuracy: this package's recipe against the tutorial's, and what each of its parts is worth.

Every recipe trains once a round on the same photos, from encoded photos to a finished model, in this process. The test
photos say how good each is at the end and choose nothing. Building the model is left out on both sides.
"""
import math
from dataclasses import replace

import measure
import numpy as np
from our_recipe import train_recipe as ours
from tutorial_recipe import train_recipe as tutorial

PARTS = {  # what a row leaves out or puts in, as settings of the run
    "without fine-tuning": {"fine_tune_epochs": 0},
    "without the head search": {"head_search": False},
    "without augmentation": {"augment": False},
    "constant learning rate, lowered on a plateau": {"schedule": "plateau"},
    "the tutorial's learning rate": {"fine_tune_learning_rate": 1e-4},
    "twice the learning rate": {"fine_tune_learning_rate": 1e-3},
    "last 60 layers only": {"unfreeze_layers": 60},
}


def few(data, per_class, seed=0):
    "The data with at most so many training photos of each class; the test photos stay"
    random = np.random.default_rng(seed)

    def some(split):
        chosen = [random.permutation(np.flatnonzero(split.labels == label))[:per_class] for label in range(len(data.class_names))]
        return split.take(np.sort(np.concatenate(chosen)))

    return replace(data, train=some(data.train), validation=some(data.validation))


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--photos-per-class", type=int, default=10**6, help="training photos to use of each class (default: all)")
    parser.add_argument("--fine-tune-epochs", type=int, default=2, help="ours (default: 2)")
    parser.add_argument("--tutorial-epochs", type=int, default=100, help="the tutorial's, at most (default: 100)")
    parser.add_argument("--parts", action="store_true", help="also measure what each part of the recipe is worth")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats = chosen.fine_tune_epochs = chosen.tutorial_epochs = 1
    from foodvision.data import load_data
    from foodvision.run import Config

    data = few(load_data(measure.folder_of(chosen.data)), chosen.photos_per_class)
    base = Config(backbone=chosen.backbone, weights=chosen.weights, image_size=chosen.image_size,
                  fine_tune_epochs=chosen.fine_tune_epochs)  # fmt: skip
    report = measure.Report("recipe", "Time to accuracy", chosen, data)
    recipes = {"the tutorial's recipe": lambda: tutorial(data, chosen.backbone, chosen.weights, chosen.image_size,
                                                         fine_tune_epochs=chosen.tutorial_epochs)}  # fmt: skip
    configs = {"foodvision": base, "without fine-tuning": replace(base, fine_tune_epochs=0)}
    configs |= {name: replace(base, **changes) for name, changes in PARTS.items()} if chosen.parts else {}
    recipes |= {name: lambda config=config: ours(data, config) for name, config in configs.items()}
    measured = measure.in_turn(recipes, chosen.repeats)
    spent = {name: [sum(stage["seconds"] for stage in result["stages"].values()) for result in results]
             for name, results in measured.items()}  # fmt: skip
    accuracy = {name: [result["test_accuracy"] for result in results] for name, results in measured.items()}
    rows = report.table("From photos to a finished model", "seconds", spent, "the tutorial's recipe")
    report.table("Top-1 on the test photos", "share", accuracy, "the tutorial's recipe", better="higher")
    half = 1.96 * math.sqrt(0.25 / len(data.test))
    report.remark(f"Top-1 is on {len(data.test):,} test photos: give or take {half:.1%} at most (95 %).")
    for name in ("foodvision", "without fine-tuning"):
        behind = np.median(accuracy["the tutorial's recipe"]) - np.median(accuracy[name])
        report.target(f"{name}: times the tutorial's speed, at {-behind:+.1%} top-1", rows[name]["times"]["median"], at_least=3)
    report.write()


if __name__ == "__main__":
    main()
