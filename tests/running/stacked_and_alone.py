"""Fits of replicas at once and of each alone, recorded update by update, to be compared."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything
from torch import Tensor

from lossact import LightningCondition
from lossact.replicas.random_streams import isolate_rng
from lossact.running.counted_steps import count_draws
from lossact.running.external import train_one
from lossact.running.fit_trainer import make_trainer, set_max_epochs
from lossact.running.outcome import ReplicaOutcome
from lossact.running.stacked_fit import PreparedReplicas
from lossact.running.stacked_watcher import StackedWatcher
from lossact.running.stacking import replica_seed
from lossact.training.compute_config import ComputeConfig
from lossact.training.replica_optimizers import ReplicaOptimizer
from lossact.training.stacked_lightning import StackedLightningModule
from tests.running import posted_modules as posted

DOUBLE = ComputeConfig(precision="64-true", threads=1)
REPLICAS = (0, 5)
BUDGET = 7
Row = dict[str, Any]


def condition(module: Any, data: Any = posted.Rows, **changes: Any) -> LightningCondition:
    given: dict[str, Any] = {"metric": "loss", "at_most": -1.0, "budget": BUDGET, "trainer": {}} | changes
    return LightningCondition(module=module, data=data, **given)


def members(given: LightningCondition, replicas: Sequence[int] = REPLICAS) -> list[tuple[LightningCondition, int]]:
    return [(given, replica) for replica in replicas]


class Recorder(Callback):
    """Everything of the fit of one module: after each batch, and after each validation."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.rows.append(
            {
                "loss": float(outputs["loss"]) * trainer.accumulate_grad_batches,
                "rate": [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups],
                "step": trainer.global_step,
                "logged": {
                    name: float(value) for name, value in trainer.callback_metrics.items() if not name.startswith("val")
                },
                **{name: tensor.detach().clone() for name, tensor in pl_module.state_dict().items()},
            }
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            logged = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("val")}
            self.rows.append({"validation": logged, "step": trainer.global_step})


class StackedRecorder(Callback):
    """The same of stacked replicas, for each."""

    def __init__(self) -> None:
        self.rows: list[list[Row]] = [[] for _ in REPLICAS]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StackedLightningModule)
        tensors = {**pl_module.parameters_by_name, **pl_module.buffers_by_name}
        for index, rows in enumerate(self.rows):
            rows.append(
                {
                    "loss": float(pl_module.losses[index]),
                    "rate": rates(trainer.optimizers[0], index),
                    "step": trainer.global_step,
                    "logged": {name: float(value[index]) for name, value in pl_module.step_values.items()},
                    **{name: tensor[index].detach().cpu().clone() for name, tensor in tensors.items()},
                }
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, StackedLightningModule)
        if not trainer.sanity_checking:
            for index, rows in enumerate(self.rows):
                values = {name: float(v[index]) for name, v in pl_module.validation_log.reduced().items()}
                rows.append({"validation": values, "step": trainer.global_step})


def rates(optimizer: Any, row: int) -> list[float]:
    """The learning rates of a replica, by group."""
    own = optimizer.of_replicas[row] if isinstance(optimizer, ReplicaOptimizer) else optimizer
    return [group["lr"] for group in own.param_groups]


def recorded_alone(given: LightningCondition, replica: int) -> list[Row]:
    """The rows of a fit of its own."""
    recorder = Recorder()
    with isolate_rng():
        seed_everything(replica_seed(0, replica), verbose=False)
        module = given.module()
        count_draws(module, 0, replica)
        data = given.data() if given.data is not None else None
        trainer = make_trainer(given, DOUBLE, recorder)
        if "max_epochs" not in given.trainer:
            set_max_epochs(module, trainer, given)
        source = {"datamodule": data} if isinstance(data, LightningDataModule) else {"train_dataloaders": data}
        trainer.fit(module, **source)
    return recorder.rows


def recorded_stacked(given: LightningCondition, compute_config: ComputeConfig = DOUBLE) -> list[list[Row]]:
    """The rows of each replica, fitted at once."""
    recorder = StackedRecorder()
    with isolate_rng():
        prepared = PreparedReplicas(members(given), 0)
        prepared.fit(compute_config, StackedWatcher(given, prepared.module), recorder)
    return recorder.rows


def fitted_alone(given: LightningCondition, replica: int) -> ReplicaOutcome:
    return train_one(given, replica_seed(0, replica), DOUBLE, draws_for=(0, replica))


def assert_equal_outcomes(stacked: ReplicaOutcome, alone: ReplicaOutcome) -> None:
    assert stacked.steps == alone.steps
    assert stacked.diverged == alone.diverged
    assert stacked.values == pytest.approx(alone.values, rel=1e-9, abs=1e-9, nan_ok=True)


def assert_equal_rows(stacked: list[Row], alone: list[Row]) -> None:
    assert len(stacked) == len(alone)
    for row, expected in zip(stacked, alone, strict=True):
        assert row.keys() == expected.keys()
        for name, value in expected.items():
            if isinstance(value, Tensor):
                torch.testing.assert_close(row[name], value, rtol=1e-9, atol=1e-9)
            elif name == "logged":  # epoch's values stay in callback_metrics for later batches
                for logged, number in row[name].items():
                    assert number == pytest.approx(value[logged], rel=1e-9, abs=1e-9)
            else:
                assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-9)
