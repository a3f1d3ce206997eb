"The table of measured results, for the home page, README.md and the page of reference results, from one JSON file"

import json
from pathlib import Path

from foodvision.metrics import wilson_interval

RESULTS = Path(__file__).parent.parent / "nbs" / "appendix" / "reference_results.json"
SPACE = "\N{NO-BREAK SPACE}"  # A number and its unit stay on one line
UNITS = [
    (7200, 3600, ".1f", "h"),
    (120, 60, ".0f", "min"),
    (0, 1, ".0f", "s"),
]  # From so many seconds on, one is, its look
FIELDS = {  # What a run has to say of itself; None stands for what was not measured
    "what": str, "data": str, "command": str, "test_photos": int, "test_photos_are": str, "classes": int,
    "top_1_correct": int, "top_5_correct": int | None, "machine": str, "seconds": int | float,
    "memory_gigabytes": int | float | None, "date": str, "versions": str, "note": str,
}  # fmt: skip


def load(path: Path = RESULTS) -> dict:
    "The runs and what is not yet run; raises `ValueError` for a row that is not whole"
    results = json.loads(path.read_text(encoding="utf-8"))
    for run in results["runs"]:
        wrong = [
            name
            for name in {*FIELDS, *run}
            if name not in FIELDS or not isinstance(run.get(name), FIELDS[name])
        ]
        if (
            wrong
            or run["top_1_correct"] > (run["top_5_correct"] or run["test_photos"])
            or run["test_photos"] < 1
        ):
            raise ValueError(f"not a whole result, see {wrong or 'its counts'}: {run}")
    return results


def share(correct: int | None, photos: int) -> str:
    "A share with its 95 % interval, in percent"
    if correct is None:
        return "–"
    low, high = (f"{100 * end:.1f}" for end in wilson_interval(correct, photos))
    return f"{100 * correct / photos:.1f}{SPACE}% ({low} to {high})"


def duration(seconds: float) -> str:
    "Seconds as a person says them"
    number, unit = next(
        (f"{seconds / size:{form}}", unit) for least, size, form, unit in UNITS if seconds >= least
    )
    return f"{number}{SPACE}{unit}"


def table(runs: list[dict], columns: dict) -> str:
    "A Markdown table with a row for each run; `columns` has a function of a run by heading"
    lines = [
        list(columns),
        ["---"] * len(columns),
        *([str(cell(run)) for cell in columns.values()] for run in runs),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


ACCURACY = {
    "what was run": lambda run: run["what"],
    "on": lambda run: run["data"],
    "test photos": lambda run: f"{run['test_photos']:,}",
    f"top-1 (95{SPACE}% interval)": lambda run: share(run["top_1_correct"], run["test_photos"]),
    "top-5": lambda run: share(run["top_5_correct"], run["test_photos"]).partition(" (")[0],
}
COST = {"where": lambda run: run["machine"], "time": lambda run: duration(run["seconds"])}
