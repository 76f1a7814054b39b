"""Replica-steps a second of lossact and of what else one could use, interleaved in one run.

    python tests/benchmarks/throughput.py --json throughput.json

A replica-step is one forward, backward and update of one network on its whole batch.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from lossact import SGD, Accuracy, Condition, MLPConfig, RandomImages
from lossact.experiment.key import Setting
from lossact.experiment.runner import fit, stacked_training
from lossact.models import MLP
from lossact.replicas.generators import DATA, replica_generator
from lossact.training.single import NetworkTraining, RepeatedBatch

CONDITION = Condition(
    network=MLPConfig(activation="sigmoid"),
    loss="l2",
    optimizer=SGD(learning_rate=0.1, momentum=0.99, weight_decay=5e-4),
    data=RandomImages(),
    budget=1000,
    target=Accuracy(1.0),
)
THREADS = torch.get_num_threads()


def lossact(replicas: int, *, compiled: bool, updates: int = 200) -> float:
    """Through the Trainer, a data set per replica; seconds a replica-step, compiling apart."""
    setting = Setting(threads=THREADS, compiled=compiled)
    module = stacked_training(replace(CONDITION, budget=updates), 0, range(replicas), setting)
    begin = time.perf_counter()
    fit(module, setting)
    return (time.perf_counter() - begin) / (replicas * updates)


def one_at_a_time(updates: int = 200) -> float:
    """One network under the Trainer; seconds a replica-step."""
    one = CONDITION.data.sample(replica_generator(0, 0, DATA))
    module = NetworkTraining(
        MLP(MLPConfig(activation="sigmoid"), (4, 4)),
        "l2",
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.99, weight_decay=5e-4),
        budget=updates,
    )
    trainer = Trainer(
        accelerator="cpu", min_epochs=0, max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    images, labels = torch.from_numpy(one.images).float(), torch.from_numpy(one.labels).float()
    begin = time.perf_counter()
    trainer.fit(module, train_dataloaders=RepeatedBatch(images, labels, times=updates + 1))
    return (time.perf_counter() - begin) / updates


ENGINES: list[tuple[str, int, Callable[[], float]]] = [
    *(
        (f"lossact {kind}", n, lambda n=n, c=kind == "compiled": lossact(n, compiled=c))
        for kind in ("eager", "compiled")
        for n in (64, 512, 2048)
    ),
    ("one at a time, Trainer", 1, one_at_a_time),
]


def main() -> None:
    """Run all engines in turn, several times, and report medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    seconds: dict[tuple[str, int], list[float]] = {(name, n): [] for name, n, _ in ENGINES}
    for _, _, run in ENGINES:
        run()
    for _ in range(arguments.repeats):
        for name, n, run in ENGINES:
            seconds[name, n].append(run())
    rows = [
        {
            "workload": "mlp, data per replica",
            "engine": name,
            "replicas": n,
            "replica_steps_per_second": 1 / statistics.median(each),
        }
        for (name, n), each in seconds.items()
    ]
    for row in rows:
        print(f"{row['engine']:25} {row['replicas']:6} {row['replica_steps_per_second']:14,.0f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
