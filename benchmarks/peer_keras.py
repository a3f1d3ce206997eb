"""A peer: Keras' own `image_dataset_from_directory`, flips and rotations, as its guide to transfer learning has them, on the same backbone.

Batch norm stays as it is. It chooses nothing; the test photos are read once, at the end.
"""

import json
import time
from pathlib import Path

import measure


def train(folder, backbone, weights, image_size, feature_epochs, fine_tune_epochs):
    "Both stages on `folder`/train, accuracy on `folder`/test"
    import keras
    import tensorflow as tf

    from foodvision.model import build_model, unfreeze

    keras.utils.set_random_seed(42)
    read = lambda part, **how: keras.utils.image_dataset_from_directory(
        folder / part, image_size=(image_size, image_size), batch_size=32, verbose=False, **how
    )
    model = build_model(backbone, len(list((folder / "train").iterdir())), image_size, weights)
    augment = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.1)])  # fmt: skip
    training = (
        read("train", seed=42)
        .map(lambda images, labels: (augment(images, training=True), labels), tf.data.AUTOTUNE)
        .prefetch(2)
    )
    test, stages = read("test", shuffle=False), {}
    for name, epochs, learning_rate in (
        ("feature_extraction", feature_epochs, 1e-3),
        ("fine_tuning", fine_tune_epochs, 1e-4),
    ):
        if not epochs:
            continue
        if name == "fine_tuning":
            unfreeze(model)
        model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"],
                      jit_compile=False)  # fmt: skip
        start = time.perf_counter()
        model.fit(training, epochs=epochs, verbose=0, shuffle=False)
        stages[name] = {"seconds": time.perf_counter() - start, "epochs": epochs}
    return {"stages": stages, "test_accuracy": float(model.evaluate(test, verbose=0)[1])}


if __name__ == "__main__":
    parser = measure.options(__doc__)
    parser.add_argument("--feature-epochs", type=int, default=3)
    parser.add_argument("--fine-tune-epochs", type=int, default=2)
    parser.add_argument("--json", required=True)
    chosen = parser.parse_args()
    answer = train(Path(chosen.data), chosen.backbone, chosen.weights, chosen.image_size, chosen.feature_epochs,
                   chosen.fine_tune_epochs)  # fmt: skip
    Path(chosen.json).write_text(json.dumps(answer))
