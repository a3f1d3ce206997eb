"""Stage 2, part by part: what each part of a recipe is worth, and what was tried beside it.

Every round draws its training photos anew and trains one head on them. Each training begins with that head, differs from
the recipe in one thing, and is measured on the same validation photos. Defaults are decided by this benchmark, so it
reads no test photos: what it measures on is cut from the training photos, as many as there are test photos, and is apart
from the validation photos by which stage 1 chooses its head. The time is that of the training steps, and of what
a recipe computes beforehand; building a graph, which takes as long for ten photos as for a million, is left out. Without
an accelerator it is processor time, which what else the machine does changes little.
"""

import sys
import time
from functools import cache, partial

import measure
import numpy as np

PARTS = {  # what differs from the recipe
    "as it is": {},
    "light augmentation": {"augmentation": "light"},
    "strong augmentation": {"augmentation": "strong"},
    "without augmentation": {"augmentation": "none"},
    "crops from 30 % of the area alone": {"augmentation": {"crop_area": 0.3}},
    "colours up to 30 % alone": {"augmentation": {"color_shift": 0.3}},
    "rotation and shear alone": {"augmentation": {"rotation": 20, "shear": 0.2}},
    "one photo in ten grey, alone": {"augmentation": {"greyscale": 0.1}},
    "a square erased in every second photo, alone": {"augmentation": {"erased": 0.5}},
    "RandAugment": {"mix": "RandAugment"},
    "mixup": {"mix": "MixUp"},
    "cutmix": {"mix": "CutMix"},
    "label smoothing 0.1": {"smoothing": 0.1},
    "no label smoothing": {"smoothing": 0.0},
    "half the learning rate": {"rate_share": 0.5},
    "twice the learning rate": {"rate_share": 2.0},
    "constant learning rate, no warm-up": {"schedule": "constant"},
    "one learning rate for all layers": {"first": 1.0},
    "first layer at 0.5 of the learning rate": {"first": 0.5},
    "first layer at 0.15 of the learning rate": {"first": 0.15},
    "first layer at 0.02 of the learning rate": {"first": 0.02},
    "weight decay 0.05": {"decay": 0.05},
    "no weight decay": {"decay": 0.0},
    "dropout 0.5": {"dropout": 0.5},
    "last 60 layers only": {"layers": 60},
    "batch norm learns too": {"batch_norm": True},
    "moving average of the weights": {"average": 0.98},
    "smaller photos first": {"first_size": 2 / 3},
    "gradual unfreezing, cached activations": {"cached_epochs": 1},
}


def parts_of(recipe, epochs=0, only=()):
    "The settings of a recipe for stage 2, and the parts that change them"
    from foodvision.recipes import make_config

    config = make_config({"recipe": recipe})
    base = {
        "epochs": epochs or config.fine_tune_epochs,
        "rate": config.fine_tune_learning_rate,
        "first": config.fine_tune_first_layer_multiplier,
        "decay": config.fine_tune_weight_decay,
        "schedule": config.schedule,
        "augmentation": config.augmentation,
        "layers": config.unfreeze_layers,
        "smoothing": config.label_smoothing,
    }
    differs = lambda part: any(base.get(name) != value for name, value in part.items())
    kept = {name: part for name, part in PARTS.items() if name == "as it is" or differs(part)}
    if unknown := set(only) - set(PARTS):
        raise SystemExit(f"No part is called {', '.join(unknown)}. There are: {', '.join(PARTS)}")
    return base, {name: kept[name] for name in ["as it is", *(only or kept)] if name in kept}


@cache
def clock():
    "What tells seconds: of this process on all cores, or of the wall where an accelerator computes"
    from foodvision.precision import device_summary

    return time.perf_counter if device_summary()["accelerators"] else time.process_time


class Steps:
    "A Keras callback that counts the seconds of training steps, the first of each fit as the usual one"

    def __new__(cls):
        import keras

        class Callback(keras.callbacks.Callback):
            seconds = 0.0

            def on_train_begin(self, logs=None):
                self.times = [clock()()]

            def on_train_batch_end(self, batch, logs=None):
                float(logs["loss"])  # waits until the step is done
                self.times.append(clock()())

            def on_train_end(self, logs=None):
                first, *_, last = self.times[1:] if len(self.times) > 2 else self.times
                steps = len(self.times) - 1
                self.seconds += (last - first) * steps / max(steps - 1, 1)

        return Callback()


def optimizer(model, fitted, steps, rate, first, decay, schedule, average=None):
    "AdamW as the package has it, with what a recipe changes, for a model that has all or some layers of `model`"
    import keras

    from foodvision.optimizer import LayerWiseAdamW, learning_rate_multipliers

    if schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate / 25, steps - steps // 10, alpha=0.01, warmup_target=rate,
                                                      warmup_steps=steps // 10)  # fmt: skip
    share = {
        id(weight): part
        for weight, part in zip(model.trainable_weights, learning_rate_multipliers(model, first))
    }
    averaged = {"use_ema": True, "ema_momentum": average} if average else {}
    return LayerWiseAdamW(
        rate, decay, [share[id(weight)] for weight in fitted.trainable_weights], **averaged
    )


def strength(augmentation):
    "An augmentation of the package by its name, or one with other strengths of its parts"
    from foodvision.preprocessing import AUGMENTATIONS, Augmentation

    return (
        AUGMENTATIONS[augmentation]
        if isinstance(augmentation, str)
        else Augmentation(**augmentation)
    )


def batches_of(photos, size, classes, seed, augmentation, smoothing=0.0, mix=None):
    "Training batches with one-hot labels, mixed or smoothed if a recipe wants that"
    import keras
    import tensorflow as tf

    from foodvision.pipeline import training_batches

    mixing = getattr(keras.layers, mix)(seed=seed) if mix else None

    def label(images, labels):
        labels = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
        if mixing:
            mixed = mixing({"images": tf.cast(images, "float32"), "labels": labels}, training=True)
            return tf.cast(tf.round(mixed["images"]), "uint8"), mixed["labels"]
        return images, labels

    return training_batches(photos, 32, seed, size, augmentation).map(label).prefetch(2)


def fit(model, batches, epochs, steps, made, watch):
    "Train a model that shares its layers with the classifier"
    model.compile(made, "categorical_crossentropy", jit_compile=False)
    model.fit(
        batches, steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False, callbacks=[watch]
    )


def resized(model, chosen, size, classes):
    "A classifier for photos of another size, with the weights of `model`"
    from foodvision.model import build_model, unfreeze

    other = build_model(chosen.backbone, classes, size, "none", 0.2)
    unfreeze(other)
    other.set_weights(model.get_weights())
    return other


def upper_part(model):
    "The backbone below a boundary three fifths up, and what stands above it with the head"
    import keras

    network = model.get_layer("backbone")
    places = [
        layer for layer in network.layers if isinstance(layer, keras.layers.Add)
    ] or network.layers[:-1]
    boundary = places[int(len(places) * 0.6)].output
    image = keras.Input(boundary.shape[1:])
    x = keras.Model(boundary, network.output)(image, training=False)
    for name in ("pooling", "standardization", "dropout", "logits", "probabilities"):
        x = model.get_layer(name)(x)
    return keras.Model(network.inputs[0], boundary), keras.Model(image, x)


def stage_2(
    model, photos, chosen, seed, first_size=None, cached_epochs=0, batch_norm=False, **recipe
):
    "Train by a recipe, from the weights that the model has; seconds"
    from dataclasses import replace

    import keras

    from foodvision.model import unfreeze
    from foodvision.optimizer import fine_tuning_rate
    from foodvision.run import Config

    epochs, classes = recipe.pop("epochs"), model.output_shape[-1]
    asked = Config(fine_tune_epochs=epochs, fine_tune_learning_rate=recipe["rate"])
    rate = fine_tuning_rate(asked, len(photos[False].split))
    recipe["rate"] = rate * recipe.pop("rate_share", 1.0)
    model.get_layer("dropout").rate = recipe.pop("dropout", 0.2)
    augmentation, layers = strength(recipe.pop("augmentation")), recipe.pop("layers")
    with_labels = {name: recipe.pop(name) for name in ("smoothing", "mix") if name in recipe}
    source, steps, watch = (
        photos[bool(augmentation)],
        max(1, len(photos[bool(augmentation)]) // 32),
        Steps(),
    )
    batches = partial(batches_of, classes=classes, seed=seed, **with_labels)
    unfreeze(model, layers)
    if batch_norm:
        model.get_layer("backbone").trainable = True
    if first_size:
        small = round(chosen.image_size * first_size / 32) * 32
        first = resized(model, chosen, small, classes)
        made = optimizer(first, first, steps * epochs // 2, **recipe)
        fit(
            first,
            batches(source, small, augmentation=augmentation),
            epochs // 2,
            steps,
            made,
            watch,
        )
        model.set_weights(first.get_weights())
        epochs -= epochs // 2
    spent = 0.0
    if cached_epochs:
        lower, upper = upper_part(model)
        lower.predict(photos[False].images[:32], verbose=0)
        begun = clock()()
        kept = lower.predict(photos[False].images, batch_size=32, verbose=0)
        spent = clock()() - begun
        fit(upper, batches(replace(photos[False], images=kept), chosen.image_size, augmentation=None), cached_epochs, steps,
            optimizer(model, upper, steps * cached_epochs, **recipe), watch)  # fmt: skip
        epochs -= cached_epochs
    whole = keras.Model(model.inputs[0], model.outputs[0])
    made = optimizer(model, whole, steps * epochs, **recipe)
    fit(
        whole,
        batches(source, chosen.image_size, augmentation=augmentation),
        epochs,
        steps,
        made,
        watch,
    )
    return spent + watch.seconds


class Pixels:
    "Pixels in memory as what a split reads: the cache of features takes its checksums of them"

    def __init__(self, images):
        self.images, self.digests = images, {}

    def path(self, key):
        return None

    def read(self, key):
        return self.images[int(key)].tobytes()


def with_views(plain, larger, views, seed):
    "The photos, and each of them augmented so many times less one"
    from dataclasses import replace

    from foodvision.data import Split
    from foodvision.pipeline import training_batches

    images, labels = zip(
        (plain.images, plain.labels),
        *training_batches(larger, len(larger), seed, plain.size).take(views - 1),
    )
    names = [f"{view}/{number}" for view, some in enumerate(labels) for number in range(len(some))]
    images = np.concatenate(images)
    split = Split(names, np.concatenate(labels), Pixels(images), np.arange(len(images)))
    return replace(plain, split=split, images=images)


def trained_head(chosen, data, seed, views=1):
    "A classifier with a trained head, and the training photos plain and somewhat larger for augmentation"
    import tempfile
    from pathlib import Path

    from foodvision.model import build_model
    from foodvision.pipeline import decode_split
    from foodvision.run import Config, Run
    from foodvision.training import extract_features

    config = Config(backbone=chosen.backbone, weights=chosen.weights, image_size=chosen.image_size, feature_epochs=10,
                    seed=seed, deterministic=False)  # fmt: skip
    model = build_model(
        chosen.backbone, len(data.class_names), chosen.image_size, chosen.weights, seed=seed
    )
    decode = lambda split, size=chosen.image_size: decode_split(split, size, progress=False)
    plain, larger = decode(data.train), decode(data.train, round(chosen.image_size * 9 / 8))
    with tempfile.TemporaryDirectory() as folder:
        facts = {"class_names": list(data.class_names), "policy": "float32"}
        run = Run.create(Path(folder) / "run", config, device={}, **facts)
        extract_features(
            run,
            model,
            with_views(plain, larger, views, seed) if views > 1 else plain,
            decode(data.validation),
        )
    return model, {False: plain, True: larger}


def one_round(chosen, data, decided_on, seed, base, parts):
    "Seconds, and accuracy on decoded photos, of every recipe, each begun with the same head"
    import keras

    from foodvision.pipeline import evaluation_batches

    keras.utils.set_random_seed(seed)
    found = {}

    def accuracy(model):
        answers = model.predict(evaluation_batches(decided_on, 64), verbose=0).argmax(axis=1)
        return 100 * float((answers == decided_on.labels).mean())

    found["no stage 2, head on four views"] = (
        None,
        accuracy(trained_head(chosen, data, seed, views=4)[0]),
    )
    model, photos = trained_head(chosen, data, seed)
    weights = model.get_weights()
    found["no stage 2"] = (None, accuracy(model))
    names = list(parts)
    for name in names[seed % len(names) :] + names[: seed % len(names)]:
        model.set_weights(weights)
        seconds = stage_2(model, photos, chosen, seed, **{**base, **parts[name]})
        found[name] = (seconds, accuracy(model))
        print(
            f"  round {seed + 1}, {name}: {found[name][0]:.1f} s, {found[name][1]:.1f} %",
            file=sys.stderr,
            flush=True,
        )
    return found


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=3, image_size=96, decides=True)
    parser.add_argument("--recipe", default="standard", help="what to take apart: a name or a file")
    parser.add_argument("--epochs", type=int, default=0, help="of stage 2 (default: the recipe's)")
    parser.add_argument("--name", default="ablation", help="of the file of results")
    parser.add_argument("--parts", nargs="*", default=[], help="only these (default: all)")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats, chosen.epochs = 1, 2
        chosen.parts = ["no weight decay", "mixup", "smaller photos first", "last 60 layers only"]
        chosen.parts += ["gradual unfreezing, cached activations"]
    base, parts = parts_of(chosen.recipe, chosen.epochs, chosen.parts)
    from foodvision.pipeline import decode_split

    whole, decided_on = measure.load_to_decide(chosen)
    drawn = [
        measure.some_of(whole, photos=chosen.photos_per_class, seed=seed)
        for seed in range(chosen.repeats)
    ]
    report, rounds = (
        measure.Report(
            chosen.name, f"Stage 2 of `{chosen.recipe}`, part by part", chosen, drawn[0]
        ),
        [],
    )
    decided_on = decode_split(decided_on, chosen.image_size, progress=False)
    for seed, data in enumerate(drawn):
        rounds.append(one_round(chosen, data, decided_on, seed, base, parts))
        write(report, rounds, len(decided_on))  # a long work: what is done is kept


def write(report, rounds, photos):
    "The tables of what the rounds so far found on so many photos"
    report.content.update(
        tables=[], remarks=[], settings={**report.content["settings"], "repeats": len(rounds)}
    )
    heads = [name for name in rounds[0] if name.startswith("no stage 2")]
    recipes = [name for name in rounds[0] if name not in heads]
    recipes.sort(key=list(PARTS).index)
    report.table(
        "Stage 2",
        "seconds of one core",
        {name: [one[name][0] for one in rounds] for name in recipes},
        "as it is",
    )
    scores = {name: [one[name][1] for one in rounds] for name in [*sorted(heads), *recipes]}
    report.table(f"Top-1 on {photos:,} validation photos", "%", scores, "as it is", better="more")
    report.remark(f"Every accuracy is of the same {photos:,} photos, cut from the training photos before any were drawn to train on. "
                  "No test photo was read.")  # fmt: skip
    report.write()


if __name__ == "__main__":
    main()
