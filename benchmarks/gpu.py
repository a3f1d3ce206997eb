"""What one accelerator makes of the same model: precision, batch size, and what it takes to feed it.

It runs on Keras' JAX backend, with the package's own backbones, head and precision code, because a machine with a GPU
often has JAX or PyTorch and no TensorFlow. It needs no data and no network:

    python benchmarks/gpu.py --minutes 8 --out results

Measurements are made in the order of their worth until the minutes are over; what was left out is listed. On a machine
without an accelerator it measures the processor: `--quick` shows that it works.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch's turn comes after

import argparse
import io
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foodvision.drawing import draw_dish
from foodvision.model import adapt_normalization, build_model, split_model, unfreeze
from foodvision.optimizer import LayerWiseAdamW
from foodvision.precision import device_summary, flat_layers, scaled_optimizer
from foodvision.preprocessing import decode_image
from foodvision.system import package_versions

POLICIES = {  # how matrices are multiplied: Keras' policy, and JAX's precision of float32
    "float32": ("float32", "highest"),
    "float32 as TF32": ("float32", "default"),
    "mixed_float16": ("mixed_float16", "default"),
    "mixed_bfloat16": ("mixed_bfloat16", "default"),
}
MODES = ("inference", "head only", "all layers")
CLASSES = 101
PEAK = {  # teraflops without sparsity, from NVIDIA's data sheets: 16 bit, TF32, float32
    "T4": (65, 8.1, 8.1),
    "A100": (312, 156, 19.5),
    "L4": (121, 60, 30.3),
    "H100": (989, 495, 67),
    "H200": (989, 495, 67),
}
TIMM = {"EfficientNetB0": "efficientnet_b0", "EfficientNetLite0": "tf_efficientnet_lite0"}
TOLERANCE = 0.05  # of the loss after 200 steps, between policies


def peak(kind, policy):
    "The device's highest rate in operations per second for a policy; None if it is not in the list"
    found = next((PEAK[name] for name in PEAK if name in kind.replace("-", " ").split()), None)
    column = {"float32": 2, "float32 as TF32": 1}.get(policy, 0)
    return found and found[column] * 1e12


class Training:
    "A model with its optimizer, as pure functions that JAX compiles"

    def __init__(self, backbone, size, policy, weights="none", rate=1e-3):
        dtype, self.matmul = POLICIES[policy]
        self.model = build_model(backbone, CLASSES, size, weights, 0.2, dtype)
        self.dtype, self.rate = dtype, rate

    def prepare(self, mode):
        "Settle what trains; the state that a step takes and gives"
        unfreeze(self.model, {"all layers": -1}.get(mode, 0))
        self.optimizer = scaled_optimizer(LayerWiseAdamW(self.rate, 0.01), self.dtype)
        self.optimizer.build(self.model.trainable_variables)
        parts = self.model.trainable_variables, self.model.non_trainable_variables
        return [[v.value for v in part] for part in (*parts, self.optimizer.variables)]

    def loss(self, trainable, fixed, optimizer, images, labels):
        "Scaled loss, then the loss and the variables that do not train"
        outputs, fixed = self.model.stateless_call(trainable, fixed, images, training=True)
        loss = keras.losses.sparse_categorical_crossentropy(labels, outputs).mean()
        with keras.StatelessScope(state_mapping=list(zip(self.optimizer.variables, optimizer))):
            scaled = self.optimizer.scale_loss(loss)
        return scaled, (loss, fixed)

    def step(self, state, images, labels):
        "One step of training: the new state and the loss"
        trainable, fixed, optimizer = state
        differentiate = jax.value_and_grad(self.loss, has_aux=True)
        (_, (loss, fixed)), gradients = differentiate(trainable, fixed, optimizer, images, labels)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return [trainable, fixed, optimizer], loss

    def answer(self, state, images, labels):
        "Probabilities, and the state as it was"
        return state, self.model.stateless_call(state[0], state[1], images, training=False)[0]


def compiled(training, mode, images, labels):
    "The compiled function of a mode, its first state, and the operations of one call"
    state = training.prepare(mode)
    function = training.answer if mode == "inference" else training.step
    with jax.default_matmul_precision(training.matmul):
        program = jax.jit(function).lower(state, images, labels).compile()
    costs = program.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    return program, state, float((costs or {}).get("flops", 0))


def time_steps(program, state, images, labels, least=1.0):
    "Seconds a call, over at least so many seconds"
    for _ in range(2):
        state, result = program(state, images, labels)
    jax.block_until_ready(result)
    calls, start = 0, time.perf_counter()
    while calls < 3 or time.perf_counter() - start < least:
        state, result = program(state, images, labels)
        calls += 1
        if calls % 8 == 0:
            jax.block_until_ready(result)
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / calls


def measure(chosen, backbone, size, batch, policy):
    "A row for each mode; one that does not fit into memory says so"
    random = np.random.default_rng(0)
    images = jax.device_put(random.integers(0, 256, (batch, size, size, 3), dtype=np.uint8))
    labels = jax.device_put(random.integers(0, CLASSES, batch).astype(np.int32))
    kind, training = jax.devices()[0].device_kind, Training(backbone, size, policy)
    for mode in MODES:
        row = {"backbone": Path(backbone).stem, "size": size, "batch": batch, "policy": policy, "mode": mode}  # fmt: skip
        try:
            begun = time.perf_counter()
            program, state, operations = compiled(training, mode, images, labels)
            row["seconds_to_compile"] = round(time.perf_counter() - begun, 1)
            seconds = time_steps(program, state, images, labels, chosen.seconds)
        except jax.errors.JaxRuntimeError as error:
            yield {**row, "failed": str(error).splitlines()[0][:120]}
            continue
        most = peak(kind, policy)
        row |= {"milliseconds": 1e3 * seconds, "photos_a_second": batch / seconds}
        row |= {"gigaflops_a_photo": operations / batch / 1e9}
        yield {**row, "share_of_peak": operations / seconds / most if most else None}


def drawn_photos(count, size):
    "JPEG files of drawn dishes, as bytes, with their labels"
    names = ("pizza", "sushi", "donuts", "hamburger")
    files, labels = [], []
    for number in range(count):
        file, label = io.BytesIO(), number % len(names)
        draw_dish(names[label], number // len(names), size).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
        labels.append(label)
    return files, np.array(labels, np.int32)


def feeding(size, seconds=3.0):
    "Photos a second that this machine decodes and scales, by one thread and by all cores"
    files, cores = drawn_photos(16, (512, 384))[0], os.cpu_count() or 1
    found = {"cores": cores, "size": size, "photo": "512 x 384 JPEG"}
    for name, threads in (("one_thread", 1), ("all_cores", cores)):
        with ThreadPoolExecutor(threads) as pool:
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                decode = lambda file: decode_image(file, size)
                done += len(list(pool.map(decode, files * threads)))
            found[name] = done / (time.perf_counter() - start)
    return found


def agreement(steps, size, backbone, weights):
    "The loss of each policy after the same steps on the same drawn photos, all layers training"
    files, labels = drawn_photos(min(128, 8 * steps), (160, 120))
    images = np.stack([decode_image(file, size) for file in files])
    order = np.random.default_rng(0).integers(0, len(images), (steps, 32))
    losses = {}
    for policy in POLICIES:
        training = Training(backbone, size, policy, weights, rate=2e-4)
        features = split_model(training.model)[0].predict(images, verbose=0)
        adapt_normalization(training.model, features)
        for layer in flat_layers(training.model):
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0  # random numbers would differ
        program, state, _ = compiled(training, "all layers", images[:32], labels[:32])
        history = []
        for chosen in order:
            state, loss = program(state, images[chosen], labels[chosen])
            history.append(loss)
        few = max(1, steps // 20)
        losses[policy] = [float(np.mean(history[:few])), float(np.mean(history[-few:]))]
    first = [first for first, _ in losses.values()]
    drop = max(first) - min(last for _, last in losses.values())
    apart = max(abs(last - losses["float32"][1]) for _, last in losses.values()) / max(drop, 1e-3)
    return {"steps": steps, "losses": losses, "apart": apart, "agrees": bool(apart <= TOLERANCE)}


def pytorch(chosen, backbone, size, batch, policy):
    "Photos a second of PyTorch and timm training all layers: channels last, autocast, compiled"
    import timm
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = timm.create_model(TIMM[backbone], num_classes=CLASSES).to(
        device, memory_format=torch.channels_last
    )
    step, optimizer = torch.compile(model.train()), torch.optim.AdamW(model.parameters(), 1e-3)
    images = torch.rand(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch,), device=device)
    half = {"mixed_float16": torch.float16, "mixed_bfloat16": torch.bfloat16}.get(policy)
    scaler = torch.amp.GradScaler(device, enabled=half is torch.float16)
    torch.set_float32_matmul_precision("highest" if policy == "float32" else "high")
    calls, start = -3, time.perf_counter()
    while calls < 3 or time.perf_counter() - start < chosen.seconds:
        optimizer.zero_grad()
        with torch.autocast(device, half or torch.bfloat16, enabled=half is not None):
            loss = torch.nn.functional.cross_entropy(step(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        calls += 1
        if calls <= 0 or calls % 8 == 0:
            float(loss)
        if calls == 0:
            start = time.perf_counter()
    float(loss)
    return batch * calls / (time.perf_counter() - start)


def table(rows):
    "Rows as Markdown"
    lines = ["| backbone | pixels | batch | policy | what | ms a step | photos/s | of the peak |"]
    lines += ["| :- | -: | -: | :- | :- | -: | -: | -: |"]
    for row in rows:
        start = [row["backbone"], row["size"], row["batch"], row["policy"], row["mode"]]
        end = [row.get("failed", "-"), "-", "-"]
        if "milliseconds" in row:
            share = row.get("share_of_peak")
            end = [f"{row['milliseconds']:.2f}", f"{row['photos_a_second']:,.0f}"]
            end += [f"{share:.1%}" if share else "-"]
        lines.append("| " + " | ".join(map(str, [*start, *end])) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8, help="begin nothing new after these")
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement")
    parser.add_argument("--backbones", nargs="+", default=["EfficientNetB0", "EfficientNetLite0"],
                        help="names or files; losses are compared with the last")  # fmt: skip
    parser.add_argument("--weights", default="imagenet", help="of the comparison of losses")
    parser.add_argument("--out", default="runs/benchmarks", help="folder to write to")
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works")
    chosen = parser.parse_args()
    end = time.monotonic() + (float("inf") if chosen.quick else 60 * chosen.minutes)
    grid = [(backbone, size) for size in (224, 128) for backbone in chosen.backbones]
    work = [(*pair, batch, policy) for batch in (256, 64, 1024, 32, 512, 128) for pair in grid for policy in POLICIES]  # fmt: skip
    if chosen.quick:
        chosen.seconds, work = 0.0, [(chosen.backbones[-1], 32, 4, policy) for policy in POLICIES]
    device = {**device_summary(), "kind": jax.devices()[0].device_kind, "jax": jax.__version__}
    content = {"benchmark": "gpu", "date": time.strftime("%Y-%m-%d %H:%M"), "device": device, "versions": package_versions(),
               "feeding": [feeding(size, 0.2 if chosen.quick else 3) for size in (224, 128)], "rows": [], "left_out": []}  # fmt: skip
    steps, size = (4, 32) if chosen.quick else (200, 128)
    content["agreement"] = agreement(steps, size, chosen.backbones[-1], chosen.weights)
    try:
        import timm  # noqa: F401
        import torch  # noqa: F401

        has_pytorch = True
    except ImportError:
        has_pytorch = False
    for case in work:
        if time.monotonic() > end:
            content["left_out"].append(list(case))
            continue
        for row in measure(chosen, *case):
            content["rows"].append(row)
            print(table([row]).splitlines()[-1], flush=True)
        if has_pytorch and case[0] in TIMM:
            content["rows"].append({**dict(zip(("backbone", "size", "batch", "policy"), case)), "mode": "PyTorch, all layers",
                                    "photos_a_second": pytorch(chosen, *case)})  # fmt: skip
        write(chosen, content)
    write(chosen, content)


def write(chosen, content):
    "The results so far, as JSON and as Markdown"
    out = Path(chosen.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    fed, losses = content["feeding"], content["agreement"]
    text = [f"# {content['device']['kind']}", table(content["rows"])]
    for one in fed:
        best = max((row["photos_a_second"] for row in content["rows"] if row["mode"] == "all layers"
                    and row["size"] == one["size"] and "photos_a_second" in row), default=None)  # fmt: skip
        cores = f"; {best / one['one_thread']:.1f} cores feed the fastest training" if best else ""
        text.append(f"At {one['size']} pixels a core decodes {one['one_thread']:.0f} photos a second, {one['cores']} cores "
                    f"{one['all_cores']:.0f}{cores}.")  # fmt: skip
    said = ", ".join(f"{name} {last:.3f}" for name, (_, last) in losses["losses"].items())
    text.append(
        f"Loss after {losses['steps']} steps: {said}; {losses['apart']:.1%} of the fall apart."
    )
    (out / "gpu.md").write_text("\n\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
