"""The label audit: labels are made wrong on purpose, at several rates; how many it finds, and what training without them gains.

Every round flips other labels to another class at random. The features are the backbone's, computed once; a head is
trained on the flipped labels, on what is left after the audit's proposals are dropped, and on what is left after
the flipped ones alone are dropped. From which confidence on the audit proposes is decided by this benchmark, so it reads
no test photos: accuracy is that on validation photos cut from the training photos, whose labels are not flipped.
"""

from dataclasses import replace

import measure
import numpy as np

RATES = (0.0, 0.05, 0.1, 0.2)


def round_of(features, data, config, rate, seed):
    "Precision and recall of the audit, and accuracy of the three heads, for one draw of wrong labels; `test` has validation photos"
    from foodvision.audit import PROPOSED_FROM, cross_validate, find_label_issues
    from foodvision.linear_head import fit_head

    labels, classes, random = data.train.labels, len(data.class_names), np.random.default_rng(seed)
    n, config = len(labels), replace(config, seed=seed)
    flipped = random.random(n) < rate
    given = np.where(flipped, (labels + random.integers(1, classes, n)) % classes, labels)
    listed, _, confidence = find_label_issues(
        cross_validate(features[:n], given, classes, config), given
    )
    proposed = np.zeros(n, bool)
    proposed[listed[confidence >= PROPOSED_FROM]] = True
    setting = {
        "learning_rate": config.head_learning_rate,
        "weight_decay": 10 * config.head_weight_decay,
        "dropout": 0.5,
    }

    def accuracy(chosen):
        kernel, bias = fit_head(features[:n][chosen], given[chosen], classes, setting, config)
        return float(((features[n:] @ kernel + bias).argmax(1) == data.test.labels).mean())

    return {
        "proposed": float(proposed.mean()), "flipped": float(flipped.mean()),
        "precision": float(flipped[proposed].mean()) if proposed.any() else 0.0,
        "recall": float(proposed[flipped].mean()) if flipped.any() else 0.0,
        "as they are": accuracy(np.ones(n, bool)), "audited": accuracy(~proposed), "right ones only": accuracy(~flipped),
    }  # fmt: skip


def main():
    parser = measure.options(__doc__.splitlines()[0], repeats=10, decides=True)
    parser.add_argument(
        "--name", default="audit", help="name of the files written (default: audit)"
    )
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.repeats = 1
    from foodvision.audit import audit_features
    from foodvision.run import Config

    config = Config(
        data=chosen.data,
        backbone=chosen.backbone,
        weights=chosen.weights,
        image_size=chosen.image_size,
    )
    photos, decided_on = measure.load_to_decide(chosen)
    photos = measure.some_of(
        photos, photos=chosen.photos_per_class, seed=None if chosen.seed < 0 else chosen.seed
    )
    data, features = audit_features(
        replace(photos, validation=photos.test, test=decided_on), config
    )
    report = measure.Report(chosen.name, "Label audit: labels made wrong on purpose", chosen,
                            replace(data, validation=data.test, test=photos.test))  # fmt: skip
    for rate in RATES[2:3] if chosen.quick else RATES:
        found = [round_of(features, data, config, rate, seed) for seed in range(chosen.repeats)]
        column = lambda name, scale=100, found=found: [scale * one[name] for one in found]
        heads = {
            name: [max(value, 0.01) for value in column(name)]
            for name in ("as they are", "audited", "right ones only")
        }
        report.table(
            f"{rate:.0%} of labels wrong: accuracy of a head on validation photos",
            "%",
            heads,
            "as they are",
            "higher",
        )
        if rate:
            shares = {"by chance": [max(value, 0.01) for value in column("flipped")],
                      "precision": column("precision"), "recall": column("recall")}  # fmt: skip
            report.table(f"{rate:.0%} of labels wrong: of those proposed, wrong; of those wrong, proposed", "%", shares,
                         "by chance", "higher")  # fmt: skip
        gain, low, high = measure.mean_with_interval(
            [100 * (one["audited"] - one["as they are"]) for one in found]
        ).values()
        report.remark(f"{rate:.0%} wrong: {np.mean(column('proposed')):.1f} % of the photos are proposed to be left out; without "
                      f"them the accuracy changes by {gain:+.1f} points (95 % interval of the mean over {chosen.repeats} "
                      f"rounds: {low:+.1f} to {high:+.1f}).")  # fmt: skip
    report.write()


if __name__ == "__main__":
    main()
