"""What `lossact fit` shows and keeps on the way."""

import csv
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from lossact.errors import InputError
from lossact.stats.bands import bands
from lossact.training.base import ReplicasModule
from lossact.training.single import SingleNetworkModule
from lossact.training.stacked import StackedReplicasModule


class UpdatesBar(ProgressBar):
    """Show one line with the number of updates, and how many replicas have arrived.

    It moves in place on a terminal, and is silent elsewhere.
    """

    WIDTH = 24
    SECONDS = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.shown = sys.stderr.isatty()
        self.last = 0.0

    def enable(self) -> None:
        self.shown = True

    def disable(self) -> None:
        self.shown = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.shown and time.monotonic() - self.last > self.SECONDS:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.shown:
            self._show(trainer, pl_module)
            print(file=sys.stderr)

    def _show(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ReplicasModule)
        self.last = time.monotonic()
        update, budget = pl_module.update_count, pl_module.budget
        metrics = self.get_metrics(trainer, pl_module)
        shown = [
            f"{name} {value:.3g}" for name, value in metrics.items() if isinstance(value, float) and name != "update"
        ]
        done = self.WIDTH * update // budget
        bar = "\u2588" * done + "\u2591" * (self.WIDTH - done)
        line = f"{bar} update {update:,} of {budget:,}, {', '.join(shown)}"
        print(f"\r\033[K{line[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)


class ReplicaLog(Callback):
    """Logs of stacked replicas, by updates: quantiles of loss, metric and gradient norms, and who has arrived.

    Rows are `log_every_n_steps` updates apart, and reach every logger.
    """

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if not isinstance(pl_module, StackedReplicasModule) or not trainer.loggers:
            return
        loss, metric = (torch.cat(parts) for parts in zip(*pl_module.newest, strict=True))
        measured_last = pl_module.update_count == pl_module.budget
        first = pl_module.update_count + measured_last - len(loss)
        steps = pl_module.steps_to_target.compute().reshape(-1)
        every = max(1, trainer.log_every_n_steps)  # type: ignore[attr-defined]
        norms = pl_module.gradient_norm(len(steps)) if pl_module.population.layer_names else None
        for k in range(len(loss)):
            update = first + k
            last = k == len(loss) - 1
            if update % every and not (last and (measured_last or trainer.should_stop)):
                continue
            reached = (steps >= 0) & (steps <= update)
            row = {"update": float(update), "reach_rate": float(reached.double().mean())}
            row |= _bands("loss", loss[k]) | _bands(pl_module.metric_name, metric[k])
            if norms is not None and last:
                for layer, of_layer in zip(pl_module.population.layer_names, norms.T, strict=True):
                    row |= _bands(f"gradient_norm/{layer}", of_layer)
            for logger in trainer.loggers:
                logger.log_metrics(row, step=update)


def _bands(name: str, values: torch.Tensor) -> dict[str, float]:
    return {label: float(value) for label, value in bands(name, values.double().cpu().numpy()).items()}


def run_folder(trainer: Trainer) -> Path | None:
    """Return the folder of a run's own.

    Args:
        trainer: of the run.

    Returns:
        the logger's folder of logs, or where Lightning puts checkpoints with a logger that has none, as W&B's; None
        without a logger.
    """
    logger = trainer.logger
    if logger is None:
        return None
    if logger.log_dir is not None:
        return Path(logger.log_dir)
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir or trainer.default_root_dir, str(logger.name or ""), version)


class ReplicaTable(Callback):
    """Writes what became of stacked replicas: a row each in replicas.csv, in the run's folder.

    Attributes:
        written: where it went; None before, and where there is no logger.
    """

    def __init__(self) -> None:
        self.written: Path | None = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = run_folder(trainer)
        if not isinstance(pl_module, StackedReplicasModule) or folder is None:
            return
        outcome = pl_module.outcome()
        path = folder / "replicas.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["replica", "steps_to_target", "diverged", *outcome.values])
            for row, replica in enumerate(pl_module.replicas):
                steps = int(outcome.steps_to_target[row]) if outcome.reached[row] else None
                values = [float(column[row]) for column in outcome.values.values()]
                writer.writerow([replica, steps, bool(outcome.diverged[row]), *values])
        self.written = path


class PredictionFile(Callback):
    """Writes what Trainer.predict finds: one row an example of a replica, its target and the network's outputs.

    Args:
        path: a CSV file; None for predictions.csv in the run's folder.

    Attributes:
        written: where it went, None before.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.written: Path | None = None

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        assert isinstance(pl_module, ReplicasModule)
        if not isinstance(outputs, torch.Tensor):
            raise InputError(
                f"the network returns a {type(outputs).__name__}; a file of predictions holds one tensor of outputs"
            )
        outputs, targets = outputs.double().cpu(), batch[1].double().cpu()
        if isinstance(pl_module, SingleNetworkModule):
            outputs, targets = outputs.unsqueeze(0), targets.unsqueeze(0)
        outputs, targets = (tensor.reshape(*tensor.shape[:2], -1) for tensor in (outputs, targets))
        path = self.path or (run_folder(trainer) or Path(trainer.default_root_dir)) / "predictions.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = [f"output_{k}" for k in range(outputs.shape[2])] if outputs.shape[2] > 1 else ["logit"]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            truths = [f"target_{k}" for k in range(targets.shape[2])] if targets.shape[2] > 1 else ["target"]
            writer.writerow(["replica", "example", *truths, *columns])
            for r, replica in enumerate(pl_module.replicas):
                for example, answer in enumerate(outputs[r].tolist()):
                    writer.writerow([replica, example, *targets[r % len(targets), example].tolist(), *answer])
        self.written = path
