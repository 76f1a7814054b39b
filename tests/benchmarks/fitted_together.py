"""How much faster replicas of LightningModules are fitted together than one at a time.

    python tests/benchmarks/fitted_together.py --json PATH
    python tests/benchmarks/fitted_together.py --device cuda

CPU seconds on one thread, or seconds on a GPU, in turns, in one process: 64 replicas are fitted together, then one
replica alone, then one by a plain Trainer, and their times are multiplied. On a GPU 64 are fitted together without CUDA
graphs, too. Rows, for 64 replicas: {"module", "updates", "together", "not_recorded", "one_at_a_time", "plain_fits",
"ratio", "ratio_to_plain_fits", "reason"}.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch.demos.boring_classes import BoringDataModule, DemoModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from lossact import LightningCondition
from lossact.running.external import train_one
from lossact.running.stacked_fit import fit_stacked
from lossact.running.stacking import replica_seed
from lossact.training.compute_config import ComputeConfig
from lossact.training.quiet import quiet
from lossact.training.stackable import NotStackableError
from lossact.training.stacked_lightning import StackedLightningModule
from tests.running import posted_modules as posted

REPLICAS, BLOCK, UPDATES, ROUNDS = 64, 64, 100, 3


def rows() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(640, 20, generator=torch.Generator().manual_seed(0))
    return inputs, inputs[:, :3].argmax(1)


class Rows(posted.Rows):
    def train_dataloader(self) -> Any:
        inputs, targets = rows()
        return DataLoader(TensorDataset(inputs[:512], targets[:512]), batch_size=32, shuffle=True)

    def val_dataloader(self) -> Any:
        inputs, targets = rows()
        return DataLoader(TensorDataset(inputs[512:], targets[512:]), batch_size=128)


class Normed(posted.Scheduled):
    """Batch norm, NAdam, a cosine schedule, validation and logged metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3))


class WithDropout(Normed):
    def __init__(self) -> None:
        super().__init__()
        self.network.insert(3, nn.Dropout(0.2))  # type: ignore[operator]


class WithMetrics(Normed):
    """An accuracy as a metric object, for each batch of training and for validation."""

    def __init__(self) -> None:
        super().__init__()
        self.in_training = MulticlassAccuracy(3)
        self.in_validation = MulticlassAccuracy(3)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.in_training(self(batch[0]), batch[1])
        self.log("train_accuracy", self.in_training, on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.in_validation.update(self(batch[0]), batch[1])
        self.log("val_accuracy", self.in_validation)
        return super().validation_step(batch, batch_idx)


class Appending(Normed):
    """Answers appended to a list, and made to a number at the end of each validation."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.outputs.append(self(batch[0]).argmax(1) == batch[1])

    def on_validation_epoch_end(self) -> None:
        self.log("val_accuracy", torch.cat(self.outputs).float().mean())
        self.outputs.clear()


class Convolutional(posted.Classifier):
    """Two layers of 3x3 windows, for images of 28x28."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
        )  # fmt: skip


def images() -> DataLoader[Any]:
    inputs = torch.randn(640, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(inputs, inputs.flatten(1)[:, :10].argmax(1)), batch_size=32, shuffle=True)


MODULES: dict[str, tuple[Callable[[], Any], Any, int]] = {
    "Lightning's DemoModel": (DemoModel, BoringDataModule, UPDATES),
    "batch norm, NAdam, schedule, validation": (Normed, Rows, UPDATES),
    "the same with dropout": (WithDropout, Rows, UPDATES),
    "with metric objects in each step": (WithMetrics, Rows, UPDATES),
    "with outputs appended to a list": (Appending, Rows, UPDATES),
    "two convolutions": (Convolutional, images, UPDATES // 5),
}


def seconds(work: Callable[[], Any], device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    with quiet():
        work()
    return clock() - start


@contextmanager
def nothing_recorded() -> Iterator[None]:
    records = StackedLightningModule._recorded_steps
    StackedLightningModule._recorded_steps = lambda self: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        StackedLightningModule._recorded_steps = records  # type: ignore[method-assign]


def measured(name: str, module: Callable[[], Any], data: Any, updates: int, config: ComputeConfig) -> dict[str, Any]:
    condition = LightningCondition(module=module, data=data, metric="loss", at_most=-1.0, budget=updates)
    timed = partial(seconds, device=config.device)

    def alone(replica: int, *, counted: bool) -> None:
        train_one(condition, replica_seed(0, replica), config, draws_for=(0, replica) if counted else None)

    members = [(condition, replica) for replica in range(BLOCK)]
    together, not_recorded, one_at_a_time, plain, reason = [], [], [], [], ""
    for turn in range(ROUNDS):
        try:
            together.append(timed(partial(fit_stacked, members, turn, config)) * REPLICAS / BLOCK)
            if config.device != "cpu":
                with nothing_recorded():
                    not_recorded.append(timed(partial(fit_stacked, members, turn, config)) * REPLICAS / BLOCK)
        except NotStackableError as error:
            reason = str(error)
        one_at_a_time.append(timed(partial(alone, turn, counted=True)) * REPLICAS)
        plain.append(timed(partial(alone, turn, counted=False)) * REPLICAS)
    both = median(together or one_at_a_time)
    return {
        "module": name,
        "updates": updates,
        "together": round(both, 1),
        "not_recorded": round(median(not_recorded), 1) if not_recorded else None,
        "one_at_a_time": round(median(one_at_a_time), 1),
        "plain_fits": round(median(plain), 1),
        "ratio": round(median(one_at_a_time) / both, 1),
        "ratio_to_plain_fits": round(median(plain) / both, 1),
        "reason": reason,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, help="where the rows go, too")
    arguments = parser.parse_args()
    config = ComputeConfig(device=arguments.device, threads=1)
    torch.set_num_threads(config.threads)
    results = []
    for name, made in MODULES.items():
        results.append(measured(name, *made, config))
        print(results[-1], flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
