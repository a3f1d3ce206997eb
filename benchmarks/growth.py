"""Growth: time and memory for more and more photos, and for more and more classes. Each number is of a process of its own.

Many photos are few: each of a hundred drawn ones has hundreds of names, as hard links in a temporary folder. Memory is the peak
of the process, time that of the work alone, without imports. What starts once (threads, tracing a function) is in it, so what
is compared is the time of each further photo; batches are made for as many photos in all folders. No accuracy is measured.
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
    "batches": "as many augmented batches as fill the longest epoch, of what *decode* made (in memory: *decode* too)",
}
SIZE = 64


def work(kind, folder, most):
    "The work that a process does to be measured, the photos that passed, and the seconds that it took"
    import foodvision.check
    import foodvision.food101

    if kind == "import":
        return {"seconds": 0}
    if kind in ("decode", "batches"):
        import foodvision.pipeline as pipeline  # and TensorFlow with it
    start = time.perf_counter()
    data = foodvision.food101.load_data(folder)
    photos = sum(map(len, data.splits.values()))
    result = {"photos": photos, "fingerprint": data.fingerprint(), "passed": photos}
    start = start if kind == "load" else time.perf_counter()
    if kind == "check":
        result["findings"] = len(foodvision.check.check_data(data, progress=False))
    if kind in ("decode", "batches"):
        decoded = pipeline.decode_split(data.train, SIZE, cache_gigabytes=0, progress=False)
        start = start if kind == "decode" else time.perf_counter()
    if kind == "batches":
        batches = pipeline.training_batches(decoded, 32, 42, SIZE * 8 // 9)
        for _ in zip(range(most // 32), batches):
            pass
        result["passed"] = most // 32 * 32
    return {**result, "seconds": time.perf_counter() - start}


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


def make_links(folder, count, classes=10):
    "A folder of `count` photos in so many classes: a hundred drawings under many names"
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
        place = photos / f"class_{number % classes}" / f"{number // 1000:04d}_{number:07d}.jpg"
        if number < classes:
            place.parent.mkdir(parents=True)
        os.link(originals[number // classes % 100], place)
    return photos


def measure_work(chosen, places):
    "Answers of the processes that do each kind of work in each of the folders, by round"
    kinds = list(WORK)[: 2 if chosen.quick else None]
    runs = {
        (kind, key): measure.python_files(
            "growth.py", "--work", kind, "--folder", place, "--photos", chosen.photos
        )
        for kind in kinds
        for key, place in places.items()
        if kind != "import" or key == min(places)
    }
    start = lambda words: measure.process(words, XDG_CACHE_HOME=str(places[min(places)].parent))
    turns = {key: lambda words=words: start(words) for key, words in runs.items()}
    return measure.in_turn(turns, chosen.repeats)


def milliseconds(answer):
    "For each photo that passed"
    return 1000 * answer["result"]["seconds"] / answer["result"]["passed"]


def own_megabytes(answer):
    "The peak of memory that is a process's own, where the system tells; else all of it"
    return answer["result"]["own_megabytes"] or answer["megabytes"]


def measure_growth(report, chosen, counts):
    "Memory and time of each kind of work for growing numbers of photos"
    with tempfile.TemporaryDirectory(dir=chosen.folder or None) as folder:
        places = {count: make_links(Path(folder) / str(count), count) for count in counts}
        measured = measure_work(chosen, places)
    peaks, times, least = {}, {}, {}
    for (kind, count), found in measured.items():
        name = "modules alone" if kind == "import" else f"{kind}, {count:,} photos"
        peaks[name] = [own_megabytes(one) for one in found]
        least[kind, count] = min(peaks[name]), min(one["result"]["seconds"] for one in found)
        if kind != "import":
            times[name] = [milliseconds(one) for one in found]
    report.table("Peak of the memory that is the process's own", "MB", peaks, "modules alone")
    report.table("Time, for each photo", "milliseconds a photo", times, next(iter(times)))
    for kind in dict.fromkeys(kind for kind, _ in least if kind != "import"):
        (low, early), (_, middle), (high, late) = (least[kind, count] for count in counts)
        each = (high - low) * 1e6 / (counts[2] - counts[0])
        report.target(f"{kind}: bytes of memory for each further photo", max(each, 0), at_most=1000)
        what = f"{kind}: time of a further photo after {counts[1]:,}, in that of one before"
        slopes = (middle - early) / (counts[1] - counts[0]), (late - middle) / (counts[2] - counts[1])  # fmt: skip
        if kind == "batches":  # of the same number of photos in all
            what, slopes = f"batches: time with {counts[2]:,} photos, in that with {counts[0]:,}", (early, late)  # fmt: skip
        report.target(what, slopes[1] / max(slopes[0], 1e-9), at_most=1.1)
        report.remark(f"*{kind}*: {WORK[kind]}.")


def measure_classes(report, chosen, count, classes):
    "Memory and time of each kind of work on the same number of photos for growing numbers of classes"
    with tempfile.TemporaryDirectory(dir=chosen.folder or None) as folder:
        places = {many: make_links(Path(folder) / str(many), count, many) for many in classes}
        measured = measure_work(chosen, places)
    found = {key: answers for key, answers in measured.items() if key[0] != "import"}
    label = lambda key: f"{key[0]}, {key[1]:,} classes"
    peaks = {label(key): [own_megabytes(one) for one in answers] for key, answers in found.items()}
    times = {label(key): [milliseconds(one) for one in answers] for key, answers in found.items()}
    title = f"{count:,} photos in more and more classes: {{}}"
    for name, unit, values in (("memory", "MB", peaks), ("time", "milliseconds a photo", times)):
        report.table(title.format(name), unit, values, next(iter(values)))
        for kind in dict.fromkeys(kind for kind, _ in found):
            few, many = (min(values[label((kind, number))]) for number in (classes[0], classes[-1]))
            what = f"{kind}: {name} with {classes[-1]:,} classes, in that with {classes[0]:,}"
            report.target(what, many / few, at_most=1.1)


def measure_demo(report, chosen):
    "The demo's training, whole"
    words = [sys.executable, "-c", "import sys; from foodvision.cli import main; sys.exit(main())", "train",
             "--data", "sample", "--backbone", chosen.backbone, "--weights", chosen.weights, "--image-size",
             chosen.image_size, "--feature-epochs", 5, "--fine-tune-epochs", 2, "--no-evaluate"]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        found = measure.process([*words, "--run", f"{folder}/run"])
    report.remark(f"The demo's training peaks at {found['megabytes']:,.0f} MB of memory, all of it counted.")  # fmt: skip


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=2)
    parser.add_argument(
        "--photos", type=int, default=100_000, help="the most photos (default: 100000)"
    )
    parser.add_argument("--folder", default="", help="where the temporary folder of photos is made")
    parser.add_argument("--work", default="", choices=["", *WORK], help="for this script itself")
    parser.add_argument("--json", default="", help="for this script itself")
    chosen = parser.parse_args()
    if chosen.work:
        peak = Peak()
        peak.start()
        result = work(chosen.work, chosen.folder, chosen.photos)
        time.sleep(0.05)
        Path(chosen.json).write_text(json.dumps({**result, "own_megabytes": peak.megabytes}))
        return
    counts = [chosen.photos // 100, chosen.photos // 10, chosen.photos]
    if chosen.quick:
        chosen.repeats, chosen.photos, counts = 1, 800, [200, 400, 800]
    report = measure.Report("growth", "More photos, more classes", chosen)
    measure_growth(report, chosen, counts)
    measure_classes(report, chosen, counts[1], [4, 8] if chosen.quick else [10, 100, 1000])
    if not chosen.quick:
        measure_demo(report, chosen)
    report.write()


if __name__ == "__main__":
    main()
