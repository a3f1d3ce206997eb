"""Memory: whether it grows with the number of photos. Every figure is the peak of a process of its own.

Many photos are few: each of a hundred drawn ones stands under hundreds of names, as hard links in a temporary folder. No
accuracy is measured.
"""

import json
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import measure

WORK = {
    "import": "what the first rows begin with: the modules of the data alone",
    "load": "`load_data`, which walks the folders, and the fingerprint",
    "check": "`check_data` on every photo",
    "decode": "`decode_split` with `cache_gigabytes=0`: pixels of 64 x 64 go to a file",
    "batches": "the same, and one epoch of augmented batches",
}
SIZE = 64


def work(kind, folder):
    "The work that a process does to be measured"
    import foodvision.check
    import foodvision.food101

    if kind == "import":
        return {}
    data = foodvision.food101.load_data(folder)
    result = {"photos": sum(map(len, data.splits.values())), "fingerprint": data.fingerprint()}
    if kind == "check":
        result["findings"] = len(foodvision.check.check_data(data, progress=False))
    if kind in ("decode", "batches"):
        import foodvision.pipeline as pipeline  # and TensorFlow with it

        decoded = pipeline.decode_split(data.train, SIZE, cache_gigabytes=0, progress=False)
        if kind == "batches":
            batches = pipeline.training_batches(decoded, 32, 42, SIZE * 8 // 9)
            for _ in zip(range(pipeline.steps_per_epoch(len(decoded), 32)), batches):
                pass
    return result


class Peak(threading.Thread):
    """Watches the memory that is this process's own, in MB; None where the system does not tell.

    Pages of a file mapped into memory are not counted: the system takes them back whenever others need the room.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.megabytes, self.place = None, Path("/proc/self/status")

    def run(self):
        while self.place.exists():
            found = re.search(r"RssAnon:\s+(\d+)", self.place.read_text())
            self.megabytes = max(self.megabytes or 0, int(found[1]) * 1.024e-3)
            time.sleep(0.02)


def make_links(folder, count):
    "A folder of `count` photos in ten classes: a hundred drawings under many names"
    from foodvision.drawing import draw_dish

    originals = []
    for number in range(100):
        originals.append(folder / "originals" / f"{number}.jpg")
        originals[-1].parent.mkdir(parents=True, exist_ok=True)
        draw_dish(["pizza", "sushi", "donuts", "macarons"][number % 4], number, (96, 96)).save(
            originals[-1]
        )
    photos = folder / "photos"
    for number in range(count):
        place = photos / f"class_{number % 10}" / f"{number // 1000:04d}_{number:07d}.jpg"
        if number < 10:
            place.parent.mkdir(parents=True)
        os.link(originals[number // 10 % 100], place)
    return photos


def measure_growth(report, chosen, counts):
    "Peaks for each kind of work and number of photos"
    peaks, grown = {}, {}
    kinds = [kind for kind in WORK if kind in ("import", chosen.only or kind)][
        : 3 if chosen.quick else None
    ]
    with tempfile.TemporaryDirectory(dir=chosen.folder or None) as folder:
        places = {count: make_links(Path(folder) / str(count), count) for count in counts}
        runs = {(kind, count): [sys.executable, __file__, "--work", kind, "--folder", place, "--json", "{json}"]
                for kind in kinds for count, place in places.items() if kind != "import" or count == counts[0]}  # fmt: skip
        cache = {"XDG_CACHE_HOME": folder}
        measured = measure.in_turn(
            {
                key: lambda words=words: measure.process(words, **cache)
                for key, words in runs.items()
            },
            chosen.repeats,
        )
    for (kind, count), found in measured.items():
        name = "modules alone" if kind == "import" else f"{kind}, {count:,} photos"
        peaks[name] = [one["result"]["own_megabytes"] or one["megabytes"] for one in found]
        grown[kind, count] = min(peaks[name])
    report.table("Peak of the memory that is the process's own", "MB", peaks, "modules alone")
    for kind in kinds[1:]:
        each = (grown[kind, counts[-1]] - grown[kind, counts[0]]) * 1e6 / (counts[-1] - counts[0])
        report.target(f"{kind}: bytes of memory for each further photo", max(each, 0), at_most=1000)
    for kind in kinds[1:]:
        report.remark(f"*{kind}*: {WORK[kind]}.")


def measure_demo(report, chosen):
    "The demo's training, whole"
    words = [sys.executable, "-c", "import sys; from foodvision.cli import main; sys.exit(main())", "train",
             "--data", "sample", "--backbone", chosen.backbone, "--weights", chosen.weights, "--image-size",
             chosen.image_size, "--feature-epochs", 5, "--fine-tune-epochs", 2, "--no-evaluate"]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        found = measure.process([*words, "--run", f"{folder}/run"])
    report.table(
        "The demo's training",
        "MB",
        {"make demo, peak memory": [found["megabytes"]]},
        "make demo, peak memory",
    )


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=2)
    parser.add_argument(
        "--photos", type=int, default=100_000, help="the most photos (default: 100000)"
    )
    parser.add_argument(
        "--only",
        default="",
        choices=["", *WORK],
        help="only this kind of work (default: all, and the demo)",
    )
    parser.add_argument(
        "--name", default="memory", help="name of the files written (default: memory)"
    )
    parser.add_argument("--folder", default="", help="where the temporary folder of photos is made")
    parser.add_argument("--work", default="", choices=["", *WORK], help="for this script itself")
    parser.add_argument("--json", default="", help="for this script itself")
    chosen = parser.parse_args()
    if chosen.work:
        peak = Peak()
        peak.start()
        result = work(chosen.work, chosen.folder)
        time.sleep(0.05)
        Path(chosen.json).write_text(json.dumps({**result, "own_megabytes": peak.megabytes}))
        return
    counts = (
        [200, 400] if chosen.quick else [chosen.photos // 100, chosen.photos // 10, chosen.photos]
    )
    if chosen.quick:
        chosen.repeats = 1
    report = measure.Report(chosen.name, "Memory", chosen)
    measure_growth(report, chosen, counts)
    if not chosen.quick and not chosen.only:
        measure_demo(report, chosen)
    report.write()


if __name__ == "__main__":
    main()
