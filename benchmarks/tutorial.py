"""The well-known tutorial's recipe for Food101, written anew from its description: the baseline to beat.

Every epoch decodes every photo whole, scales it, keeps it as float32, shuffles, makes batches of 32 and prefetches.
First a new head is trained on the frozen backbone (Adam, 1e-3, 3 epochs), validated on 15 % of the test photos; then
all layers, batch norm's scales and offsets too (Adam, 1e-4; early stopping after 3 epochs, learning rate times 0.2
after 2). What the tutorial leaves out is done after each stage: the accuracy on all test photos. Its validation photos are
among them, and they chose when to stop, so that accuracy flatters it a little.
"""

import tempfile
import time
from pathlib import Path

import measure

BATCH_SIZE, SHUFFLE_BUFFER, VALIDATION_SHARE = 32, 1000, 0.15


def tutorial_batches(splits, image_size, shuffle=True, parallel=True, prefetch=True, seed=42):
    "Photos of some splits as the tutorial's chain delivers them: float32 (b, size, size, 3) of 0 to 255, int32 (b,)"
    import numpy as np
    import tensorflow as tf

    photos = [(split, i) for split in splits for i in range(len(split))]
    order = np.random.default_rng(seed).permutation(
        len(photos)
    )  # TFDS stores its records in a shuffled order
    labels = np.concatenate([split.labels for split in splits])[order]
    if all(split.path(0) for split in splits):
        paths = [str(split.path(i)) for split, i in (photos[k] for k in order)]
        encoded = tf.data.Dataset.from_tensor_slices((paths, labels)).map(
            lambda path, label: (tf.io.read_file(path), label)
        )
    else:  # records have no paths: read in Python, decoded as the others are
        rows = lambda: ((photos[k][0].read(photos[k][1]), label) for k, label in zip(order, labels))
        encoded = tf.data.Dataset.from_generator(
            rows, output_signature=(tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32))
        )

    def decode(photo, label):
        image = tf.io.decode_image(photo, channels=3, expand_animations=False)
        image.set_shape((None, None, 3))
        return tf.cast(tf.image.resize(image, (image_size, image_size)), tf.float32), label

    batches = encoded.map(decode, num_parallel_calls=tf.data.AUTOTUNE if parallel else None)
    batches = batches.shuffle(SHUFFLE_BUFFER) if shuffle else batches
    batches = batches.batch(BATCH_SIZE)
    return batches.prefetch(tf.data.AUTOTUNE) if prefetch else batches


def train_recipe(
    data,
    backbone,
    weights,
    image_size,
    feature_epochs=3,
    fine_tune_epochs=100,
    policy="auto",
    seed=42,
):
    "Both stages; seconds, epochs and accuracy of each, and the accuracy on all test photos"
    import keras
    import numpy as np

    from foodvision.model import build_model
    from foodvision.precision import choose_policy, scaled_optimizer

    keras.utils.set_random_seed(seed)
    training = tutorial_batches([data.train, data.validation], image_size)
    test = tutorial_batches([data.test], image_size, shuffle=False)
    watched = test.take(max(1, int(VALIDATION_SHARE * len(data.test) / BATCH_SIZE)))
    policy = choose_policy(policy)
    built = time.perf_counter()
    # Our model takes uint8 and Keras casts the chain's float32 to it, rounding down: half a level of 255 on average.
    model = build_model(backbone, len(data.class_names), image_size, weights, 0.0, policy, seed)
    result = {"policy": policy, "build_seconds": time.perf_counter() - built, "stages": {}}

    def fit(name, epochs, learning_rate, callbacks):
        optimizer = scaled_optimizer(keras.optimizers.Adam(learning_rate), policy)
        model.compile(
            optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
        )
        begun = time.perf_counter()
        history = model.fit(
            training,
            epochs=epochs,
            validation_data=watched,
            callbacks=callbacks,
            verbose=0,
            shuffle=False,
        ).history
        spent = time.perf_counter() - begun
        result["stages"][name] = {"seconds": spent, "epochs": len(history["loss"]), "history": {
            key: [round(float(value), 4) for value in values] for key, values in history.items()}}  # fmt: skip
        labels = np.concatenate([labels for _, labels in test])
        result["stages"][name].update(measure.test_scores(model.predict(test, verbose=0), labels))

    with tempfile.TemporaryDirectory() as folder:
        keep = keras.callbacks.ModelCheckpoint(Path(folder) / "best.weights.h5", "val_accuracy", save_best_only=True,
                                               save_weights_only=True)  # fmt: skip
        fit("feature_extraction", feature_epochs, 1e-3, [keras.callbacks.TensorBoard(folder), keep])
        if fine_tune_epochs:
            model.get_layer("backbone").trainable = True
            fit("fine_tuning", fine_tune_epochs, 1e-4, [
                keras.callbacks.TensorBoard(folder), keras.callbacks.EarlyStopping("val_loss", patience=3),
                keras.callbacks.ModelCheckpoint(Path(folder) / "best.keras", "val_loss", save_best_only=True),
                keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.2, patience=2, min_lr=1e-7)])  # fmt: skip
    return result | measure.scores_of_last(result["stages"])


def main():
    parser = measure.options(__doc__.splitlines()[0])
    parser.add_argument("--feature-epochs", type=int, default=3, help="stage 1 (default: 3)")
    parser.add_argument(
        "--fine-tune-epochs",
        type=int,
        default=100,
        help="stage 2, at most; 0 leaves it out (default: 100)",
    )
    parser.add_argument(
        "--policy", default="auto", help="dtype policy, as in `foodvision train` (default: auto)"
    )
    parser.add_argument("--json", default="", help="write the result to this file")
    chosen = parser.parse_args()
    data = measure.load(chosen)
    fine_tune_epochs = min(1, chosen.fine_tune_epochs) if chosen.quick else chosen.fine_tune_epochs
    result = train_recipe(data, chosen.backbone, chosen.weights, chosen.image_size,
                          1 if chosen.quick else chosen.feature_epochs, fine_tune_epochs, chosen.policy,
                          42 if chosen.seed < 0 else chosen.seed)  # fmt: skip
    for name, stage in result["stages"].items():
        print(f"{name.replace('_', ' ')}: {stage['epochs']} epochs in {stage['seconds']:.1f} s, "
              f"validation accuracy {stage['history']['val_accuracy'][-1]:.1%}")  # fmt: skip
    measure.write_answer(chosen, "tutorial", result, len(data.test))


if __name__ == "__main__":
    main()
