"""Time to accuracy: this package's recipe against the tutorial's, from encoded photos to a finished model.

Both train once a round, each in a process of its own, on training photos drawn anew for each round. Ours chooses its head
and its best epoch on validation photos cut from the training photos, the tutorial's watches 15 % of the test photos. The test
photos say how good each is in the end, and no default is decided by that. Building the model is left out on both sides.
"""

import statistics
import tempfile

import measure

TUTORIAL, HEAD = "the tutorial's recipe", "{}, stage 1 alone"


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--fine-tune-epochs", type=int, default=2, help="ours (default: 2)")
    parser.add_argument(
        "--longer",
        type=int,
        default=0,
        help="also train ours for so many epochs of stage 2 (default: no)",
    )
    parser.add_argument(
        "--tutorial-epochs", type=int, default=100, help="the tutorial's, at most (default: 100)"
    )
    parser.add_argument(
        "--name", default="recipe", help="name of the files written (default: recipe)"
    )
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats = chosen.fine_tune_epochs = chosen.tutorial_epochs = 1
    epochs = {TUTORIAL: chosen.tutorial_epochs, "foodvision": chosen.fine_tune_epochs,
              **({"foodvision, longer": chosen.longer} if chosen.longer else {})}  # fmt: skip
    rounds = {name: iter(range(chosen.repeats)) for name in epochs}

    def train(name):
        script, stage_1 = ("tutorial.py", 3) if name == TUTORIAL else ("our_recipe.py", 20)
        words = measure.passed_on(chosen, seed=next(rounds[name]), feature_epochs=1 if chosen.quick else stage_1,
                                  fine_tune_epochs=epochs[name])  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:  # nothing is cached before
            return measure.process(measure.python_files(script, *words), XDG_CACHE_HOME=folder)[
                "result"
            ]

    measured = measure.in_turn(
        {name: lambda name=name: train(name) for name in epochs}, chosen.repeats
    )
    chosen.seed = 0
    shown = measure.load(chosen)
    write(measure.Report(chosen.name, "Time to accuracy", chosen, shown), measured, shown)


def write(report, measured, data):
    "Tables and targets of what the recipes took and reached"
    spent, scores = {}, {"test_accuracy": {}, "test_top_5": {}}
    for name, results in measured.items():
        stages = [list(result["stages"].values()) for result in results]
        for row, count in ((name, 2), (HEAD.format(name), 1)):
            spent[row] = [sum(stage["seconds"] for stage in done[:count]) for done in stages]
            for key, values in scores.items():
                values[row] = [100 * done[:count][-1][key] for done in stages]
    rows = report.table("From photos to a finished model", "seconds", spent, TUTORIAL)
    top_1, _ = (report.table(f"{title} on {len(data.test):,} test photos", "%", scores[key], TUTORIAL, better="more")
                for title, key in (("Top-1", "test_accuracy"), ("Top-5", "test_top_5")))  # fmt: skip
    report.remark(_how_it_ended([result["stages"].get("fine_tuning", {}).get("epochs", 0) for result in measured[TUTORIAL]],
                                report.content["settings"]["tutorial_epochs"]))  # fmt: skip
    for name in rows:
        if not name.startswith(TUTORIAL):
            what = f"{name}: times the tutorial's speed, at {top_1[name]['more']['mean']:+.1f} points of top-1"
            report.target(what, rows[name]["times"]["median"], 3)
    ours, theirs = (spent[HEAD.format(name)] for name in ("foodvision", TUTORIAL))
    faster = [their / our for our, their in zip(ours, theirs)]
    gained = [
        our - their
        for our, their in zip(
            *(scores["test_accuracy"][HEAD.format(name)] for name in ("foodvision", TUTORIAL))
        )
    ]
    what = f"foodvision's stage 1: times the speed of the tutorial's, at {statistics.fmean(gained):+.1f} points of top-1"
    report.target(what, statistics.median(faster), 2)
    report.write()


def _how_it_ended(epochs, most):
    "Whether the tutorial's stage 2 stopped by itself, round by round"
    said = [
        f"{count} ({'cut off there' if count == most else 'stopped by itself'})" for count in epochs
    ]
    return f"Epochs of the tutorial's stage 2: {', '.join(said)}."


if __name__ == "__main__":
    main()
