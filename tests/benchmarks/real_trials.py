"""Steps to target of real conditions, for the A/A table of the calibration.

python tests/benchmarks/real_trials.py --out trials.npz
python -m lossact.stats.calibration --trials trials.npz
"""

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from lossact import SGD, Condition, Experiment, MLPConfig, RandomImages, Store, default_compute_config


def main() -> None:
    """Train the report's MLP under its four pairs and write one array a pair, -1 where the target was not reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--replicas", type=int, default=16_384)
    arguments = parser.parse_args()
    base = Condition(
        network=MLPConfig(activation="sigmoid"), loss="l2", data=RandomImages(), budget=1000,
        optimizer=SGD(learning_rate=0.1, momentum=0.99, weight_decay=5e-4),
    )  # fmt: skip
    steps_by_pair = {}
    with closing(Store(None)) as store:
        experiment = Experiment(store=store, compute_config=default_compute_config(compiled=True))
        for activation in ("sigmoid", "relu"):
            for loss in ("cross_entropy", "l2"):
                pair = replace(base, network=MLPConfig(activation=activation), loss=loss, name="")
                (trials,) = experiment.trials([pair], arguments.replicas)
                steps_by_pair[f"{activation}/{loss}"] = np.where(trials.reached, trials.steps, -1)
    np.savez(arguments.out, allow_pickle=False, **steps_by_pair)


if __name__ == "__main__":
    main()
