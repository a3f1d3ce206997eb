"""This package's recipe, timed stage by stage in a process of its own: what the tutorial's is compared with.

`stage_1` is everything from encoded photos to a trained head: decoding, the backbone's pass (or its cached features),
the head's epochs. `stage_2` is decoding for augmentation and fine-tuning. Building the model is apart in both recipes.
Validation photos cut from the training photos choose the head and the best epoch; test photos only measure what came of it.
"""

import tempfile
import time
from pathlib import Path

import measure


def train_recipe(data, config):
    "Seconds of each stage by the package's own functions, and the accuracy on all test photos"
    from foodvision.model import build_model
    from foodvision.pipeline import decode_split
    from foodvision.precision import choose_policy, device_summary, make_reproducible
    from foodvision.resume import GracefulShutdown
    from foodvision.run import Run
    from foodvision.training import extract_features, fine_tune

    start, policy = time.perf_counter(), choose_policy(config.policy)
    make_reproducible(config.seed, config.deterministic)
    model = build_model(config.backbone, len(data.class_names), config.image_size, config.weights, config.dropout,
                        policy, config.seed)  # fmt: skip
    facts = {"class_names": list(data.class_names), "policy": policy}
    result = {"policy": policy, "build_seconds": time.perf_counter() - start, "stages": {}}
    with tempfile.TemporaryDirectory() as folder, GracefulShutdown("stopped") as stop:
        run = Run.create(Path(folder) / "run", config, device=device_summary(), **facts)
        begun = time.perf_counter()
        training, validation = (decode_split(split, config.image_size, config.cache_gigabytes, progress=False)
                                for split in (data.train, data.validation))  # fmt: skip
        extract_features(run, model, training, validation, stop)
        result["stages"]["feature_extraction"] = {"seconds": time.perf_counter() - begun}
        result["stages"]["feature_extraction"].update(_test_scores(run, data, config))
        if config.fine_tune_epochs:
            begun = time.perf_counter()
            if config.augmentation != "none":
                training = decode_split(
                    data.train, round(config.image_size * 9 / 8), progress=False
                )
            fine_tune(run, model, training, validation, stop)
            result["stages"]["fine_tuning"] = {"seconds": time.perf_counter() - begun}
            result["stages"]["fine_tuning"].update(_test_scores(run, data, config))
        for name, stage in result["stages"].items():
            rows = [row for row in run.history if row["stage"] == name]
            stage.update(epochs=len(rows), validation_accuracy=[round(row["val_accuracy"], 4) for row in rows],
                         head_seconds=sum(row["seconds"] for row in rows))  # fmt: skip
        result.update(measure.scores_of_last(result["stages"]))
    return result


def _test_scores(run, data, config):
    "How good the run's best model is on the test photos"
    from foodvision.model import load_model
    from foodvision.pipeline import decode_split, evaluation_batches

    test = decode_split(data.test, config.image_size, progress=False)
    scores = load_model(run.model_path).predict(
        evaluation_batches(test, config.batch_size), verbose=0
    )
    return measure.test_scores(scores, test.labels)


def main():
    parser = measure.options(__doc__.splitlines()[0])
    parser.add_argument("--feature-epochs", type=int, default=3, help="stage 1 (default: 3)")
    parser.add_argument(
        "--fine-tune-epochs", type=int, default=5, help="stage 2; 0 leaves it out (default: 5)"
    )
    parser.add_argument("--recipe", default="quick", help="what else is set (default: quick)")
    parser.add_argument("--json", default="", help="write the result to this file")
    chosen = parser.parse_args()
    from foodvision.recipes import make_config

    data = measure.load(chosen)
    names = "data", "backbone", "weights", "image_size", "feature_epochs", "fine_tune_epochs"
    settings = {name: getattr(chosen, name) for name in names}
    seed = 42 if chosen.seed < 0 else chosen.seed
    config = make_config({**settings, "recipe": chosen.recipe, "seed": seed})
    result = train_recipe(data, config)
    for name, stage in result["stages"].items():
        print(f"{name.replace('_', ' ')}: {stage['epochs']} epochs in {stage['seconds']:.1f} s")
    measure.write_answer(chosen, "our_recipe", result, len(data.test))


if __name__ == "__main__":
    main()
