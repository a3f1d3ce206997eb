"""Time to accuracy: this package's recipe against the tutorial's, from encoded photos to a finished model.

Both train once a round, each in a process of its own, on training photos drawn anew for each round. The test photos say how good each is
at the end and choose nothing of ours; the tutorial watches 15 % of them. Building the model is left out on both sides.
"""
import tempfile

import measure


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--fine-tune-epochs", type=int, default=2, help="ours (default: 2)")
    parser.add_argument("--longer", type=int, default=0, help="also train ours for so many epochs of stage 2 (default: no)")
    parser.add_argument("--tutorial-epochs", type=int, default=100, help="the tutorial's, at most (default: 100)")
    parser.add_argument("--name", default="recipe", help="name of the files written (default: recipe)")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats = chosen.fine_tune_epochs = chosen.tutorial_epochs = 1
    epochs = {"the tutorial's recipe": chosen.tutorial_epochs, "foodvision": chosen.fine_tune_epochs,
              "foodvision, stage 1 alone": 0, **({"foodvision, longer": chosen.longer} if chosen.longer else {})}  # fmt: skip
    rounds = {name: iter(range(chosen.repeats)) for name in epochs}

    def train(name):
        script, stage_1 = ("tutorial_recipe.py", 3) if name.startswith("the") else ("our_recipe.py", 20)
        words = measure.passed_on(chosen, seed=next(rounds[name]), feature_epochs=1 if chosen.quick else stage_1,
                                  fine_tune_epochs=epochs[name])  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:  # nothing is cached before
            return measure.process(measure.python_files(script, *words), XDG_CACHE_HOME=folder)["result"]

    measured = measure.in_turn({name: lambda name=name: train(name) for name in epochs}, chosen.repeats)
    chosen.seed = 0
    shown = measure.load(chosen)
    write(measure.Report(chosen.name, "Time to accuracy", chosen, shown), measured, shown)


def write(report, measured, data):
    "Tables and targets of what the recipes took and reached"
    first = "the tutorial's recipe"
    spent = {name: [sum(stage["seconds"] for stage in result["stages"].values()) for result in results]
             for name, results in measured.items()}  # fmt: skip
    accuracy = {name: [100 * result["test_accuracy"] for result in results] for name, results in measured.items()}
    rows = report.table("From photos to a finished model", "seconds", spent, first)
    scores = report.table(f"Top-1 on {len(data.test):,} test photos", "%", accuracy, first, better="more")
    epochs = [result["stages"]["fine_tuning"]["epochs"] for result in measured[first]]
    report.remark(f"The tutorial's stage 2 stopped by itself after {', '.join(map(str, epochs))} epochs.")
    for name in list(measured)[1:]:
        more = scores[name]["more"]["mean"]
        report.target(f"{name}: times the tutorial's speed, at {more:+.1f} points of top-1", rows[name]["times"]["median"], 3)
    report.write()


if __name__ == "__main__":
    main()
