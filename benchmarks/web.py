"""The page in the browser: weight, time to be ready, time of an answer; and its runtime beside others, in headless Chromium.

`python benchmarks/web.py` measures the page that `foodvision export food101 --format web` writes. Where npm is, it also runs
the same model, one thread each and every file from this machine, in both variants of LiteRT.js and in ONNX Runtime Web, for
which tf2onnx converts it (`pip install 'foodvision[export]'`). Chromium and playwright are needed.
"""

import argparse
import functools
import gzip
import http.server
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import measure

BROWSERS = "chromium chromium-browser google-chrome google-chrome-stable".split()
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
]
ONNX_RUNTIME = ("onnxruntime-web", "1.30.0",
                "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==")  # fmt: skip
HTML = '<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="go.js"></script><body>'
# Both begin when the script does and end when the model has answered once; then `warm(n)` gives the milliseconds of n answers.
TIMING = """
const pixels = Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, i) => (i * 7919) % 256);
self.first = await ask(pixels);
self.ready = performance.now();
self.warm = async (count) => {
  const times = [];
  for (let i = 0; i < count; i++) { const start = performance.now(); await ask(pixels); times.push(performance.now() - start); }
  return times;
};
"""
UNPACK = """
const unpacked = async (url) => {
  const stream = (await fetch(url)).body.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};
"""
LITERT = (
    UNPACK
    + """
import { Tensor, loadAndCompile, loadLiteRt } from "./index.js";
self.Module = { wasmBinary: await unpacked("NAME.wasm.gz"), print() {}, printErr() {} };
await loadLiteRt(new URL("NAME.js", import.meta.url).href);
const model = await loadAndCompile("model.tflite", { accelerator: "wasm" });
const ask = async (pixels) => {
  const given = new Tensor(pixels, [1, SIDE, SIDE, 3]), outputs = await model.run({ photos: given });
  const said = [...await outputs.probabilities.data()];
  given.delete();
  for (const output of Object.values(outputs)) output.delete();
  return said;
};
"""
    + TIMING
)
ONNX = (
    UNPACK
    + """
import * as ort from "./ort.wasm.min.mjs";
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = await unpacked("ort-wasm-simd-threaded.wasm.gz");
const session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
const ask = async (pixels) => {
  const outputs = await session.run({ [session.inputNames[0]]: new ort.Tensor("uint8", pixels, [1, SIDE, SIDE, 3]) });
  return [...outputs[session.outputNames.at(-1)].data]; // as in the LiteRT file, the probabilities come last
};
"""
    + TIMING
)


def options():
    "What every benchmark has that needs no data"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="rounds (default: 7)")
    parser.add_argument(
        "--out", default="runs/benchmarks", help="folder to write to (default: runs/benchmarks)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="as little as shows that it works; its figures mean nothing",
    )
    return parser.parse_args()


class Quiet(http.server.SimpleHTTPRequestHandler):
    "A file server that says nothing"

    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    "The address of a folder on this machine"
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def megabytes(folder):
    "All files of a folder, as they are served"
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6


def photo(width, height):
    "A drawn dish as a JPEG file; a large one is enlarged, as drawing it would take long"
    import io

    from foodvision.drawing import draw_dish

    file = io.BytesIO()
    draw_dish("pizza", 200_001, (512, 384)).resize((width, height)).save(file, "JPEG", quality=90)
    return file.getvalue()


def visit_page(browser, address, photos, calls):
    "One visit to the page, nothing cached: milliseconds until it is ready, and of warm answers to each photo"
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.locator("html[data-state=ready]").wait_for(state="attached", timeout=120_000)
    found = {"from the address to ready": page.evaluate("performance.now()")}
    for name, content in photos.items():
        times = []
        for _ in range(calls + 2):
            page.evaluate("document.documentElement.dataset.state = 'waiting'")
            page.locator("#file").set_input_files(
                {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": content}
            )
            page.locator("html[data-state=answered]").wait_for(state="attached", timeout=60_000)
            times.append(
                float(page.locator(".answer .small").inner_text().split(" ms")[0].split()[-1])
            )
        found[name] = statistics.median(times[2:])
    alone = """async (calls) => {
        const model = await foodvision.loading, times = [];
        for (let i = 0; i < calls; i++) {
            const start = performance.now();
            await model.run(foodvision.shown.pixels);
            times.push(performance.now() - start);
        }
        return times;
    }"""
    found["the model alone"] = statistics.median(page.evaluate(alone, calls + 2)[2:])
    context.close()
    return found


def measure_page(report, chosen, browser, folder):
    "The exported page: what a visitor waits for"
    photos = {
        "answer to a photo of 512 x 384": photo(512, 384),
        "answer to a photo of 4000 x 3000": photo(4000, 3000),
    }
    with served(folder) as address:
        visits = []
        for turn in range(chosen.repeats):
            visits.append(visit_page(browser, address, photos, 1 if chosen.quick else 9))
            print(f"  visit {turn + 1} of {chosen.repeats}", file=sys.stderr, flush=True)
    values = {name: [visit[name] for visit in visits] for name in visits[0]}
    rows = report.table(
        "A visit to the page, nothing cached before", "ms", values, "the model alone"
    )
    report.target(
        "weight of the page, its runtime, model and examples: MB", megabytes(folder), at_most=15
    )
    report.target(
        "from the address to ready: ms", rows["from the address to ready"]["median"], at_most=3000
    )
    report.target(
        "warm answer to a photo of 512 x 384: ms",
        rows["answer to a photo of 512 x 384"]["median"],
        at_most=150,
    )


def halved(model):
    "An ONNX model whose large constants are 16-bit floats, as they were before the conversion, and cast back where used"
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    for constant in list(model.graph.initializer):
        values = numpy_helper.to_array(constant)
        if values.dtype == np.float32 and values.size > 256:
            name = constant.name
            constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            model.graph.node.insert(
                0, helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
            )
    return model


def runtimes(page, place):
    "A folder for each runtime, with all that a browser loads for it"
    import onnx

    from recipes.vendored_litert import NAME, PACKAGES, VERSION, npm_package

    facts, folders = json.loads((page / "facts.json").read_text()), {}
    core = npm_package("@litertjs/core", VERSION, PACKAGES["@litertjs/core"], place)
    for title, name in (("LiteRT.js", NAME), ("LiteRT.js, relaxed SIMD", "litert_wasm_internal")):
        folder = folders[title] = place / name
        folder.mkdir()
        for file in ("index.js", "wasm-utils.js"):
            shutil.copy(page / "litert" / file, folder / file)
        shutil.copy(core / "wasm" / f"{name}.js", folder / f"{name}.js")
        (folder / f"{name}.wasm.gz").write_bytes(
            gzip.compress((core / "wasm" / f"{name}.wasm").read_bytes(), 9)
        )
        shutil.copy(page / "model.tflite", folder / "model.tflite")
        (folder / "go.js").write_text(
            LITERT.replace("NAME", name).replace("SIDE", str(facts["side"]))
        )
    folder = folders["ONNX Runtime Web"] = place / "onnx"
    folder.mkdir()
    dist = npm_package(*ONNX_RUNTIME, place) / "dist"
    for file in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs"):
        shutil.copy(dist / file, folder / file)
    wasm = "ort-wasm-simd-threaded.wasm"
    (folder / f"{wasm}.gz").write_bytes(gzip.compress((dist / wasm).read_bytes(), 9))
    words = [
        sys.executable,
        "-m",
        "tf2onnx.convert",
        "--tflite",
        page / "model.tflite",
        "--output",
        place / "model.onnx",
        "--opset",
        "18",
    ]
    subprocess.run(words, check=True, capture_output=True)
    onnx.save(halved(onnx.load(place / "model.onnx")), folder / "model.onnx")
    (folder / "go.js").write_text(ONNX.replace("SIDE", str(facts["side"])))
    for folder in folders.values():
        (folder / "index.html").write_text(HTML)
    return folders


def visit_runtime(browser, folder, calls):
    "One visit, nothing cached: milliseconds until the model has answered once, and of a warm answer; and what it said"
    with served(folder) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_function("self.warm", timeout=120_000)
        ready, said = page.evaluate("[self.ready, self.first]")
        warm = statistics.median(page.evaluate("(count) => self.warm(count)", calls))
        context.close()
    return ready, warm, said


def measure_runtimes(report, chosen, browser, page):
    "The runtimes in turn"
    import numpy as np

    with tempfile.TemporaryDirectory() as place:
        folders = runtimes(page, Path(place))
        turns = {
            name: functools.partial(visit_runtime, browser, folder, 5 if chosen.quick else 40)
            for name, folder in folders.items()
        }
        found = measure.in_turn(turns, chosen.repeats)
        sizes = {name: [megabytes(folder)] * chosen.repeats for name, folder in folders.items()}
    first = next(iter(folders))
    report.table("What is loaded: runtime and model, the WebAssembly packed", "MB", sizes, first)
    report.table("Until the model has answered once, nothing cached before", "ms",
                 {name: [visit[0] for visit in visits] for name, visits in found.items()}, first)  # fmt: skip
    report.table("A warm answer, one thread", "ms",
                 {name: [visit[1] for visit in visits] for name, visits in found.items()}, first)  # fmt: skip
    apart = {
        name: max(abs(np.array(visit[2]) - found[first][0][2]).max() for visit in visits)
        for name, visits in found.items()
    }
    others = ", ".join(f"{name} {by:.1e}" for name, by in apart.items() if name != first)
    report.remark(f"Largest difference of a probability to {first}: {others}.")


def main():
    chosen = options()
    if chosen.quick:
        chosen.repeats = 1
    program = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if not program:
        raise SystemExit("Chromium is needed. On Debian or Ubuntu: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    from foodvision.web import export_web

    report = measure.Report("web", "In the browser", chosen)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=FLAGS)
        page = export_web("food101", Path(place) / "page")
        measure_page(report, chosen, browser, page)
        if shutil.which("npm") and not chosen.quick:
            measure_runtimes(report, chosen, browser, page)
        else:
            report.remark(
                "Other runtimes were not measured: that needs npm, a network, and more than a quick look."
            )
        report.remark(f"Chromium {browser.version}, headless.")
        browser.close()
    report.write()


if __name__ == "__main__":
    main()
