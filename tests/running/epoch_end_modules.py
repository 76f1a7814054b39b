"""LightningModules whose validation is summed up at the end of its epoch."""

import math
from typing import Any

import torch
from torch import Tensor

from tests.running.posted_modules import Classifier, OfSeveralLoaders, WithMetricObjects


class Appending(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        super().validation_step(batch, batch_idx)
        self.outputs.append(self(batch[0]))

    def on_validation_epoch_end(self) -> None:
        self.log("val_mean", torch.cat(self.outputs).mean())
        self.outputs.clear()


class AppendingDicts(OfSeveralLoaders):
    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[dict[str, Any]] = []

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        super().validation_step(batch, batch_idx, dataloader_idx)
        answers = self(batch[0])
        self.outputs += [{"right": answers.argmax(1) == batch[1], "n": len(batch[1]), "loader": dataloader_idx}]

    def on_validation_epoch_end(self) -> None:
        right = sum(int(each["right"].sum()) for each in self.outputs)
        self.log_dict({"val_right": right, "val_share": right / sum(each["n"] for each in self.outputs)})
        self.log("val_norm", torch.cat([parameter.flatten() for parameter in self.parameters()]).norm())
        self.outputs = []


class ComputesAtTheEnd(WithMetricObjects):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.accuracy.update(self(batch[0]).argmax(1), batch[1])

    def on_validation_epoch_end(self) -> None:
        self.log("val_acc", self.accuracy.compute(), prog_bar=True)
        self.accuracy.reset()


class ReadsItsList(Appending):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        if len(self.outputs) < 1:
            super().validation_step(batch, batch_idx)


class KeepsItsList(Appending):
    def on_validation_epoch_end(self) -> None:
        self.log("val_mean", torch.cat(self.outputs).mean())


class KeepsTheBest(Appending):
    best = -math.inf

    def on_validation_epoch_end(self) -> None:
        self.best = max(self.best, float(torch.cat(self.outputs).mean()))
        super().on_validation_epoch_end()


class StopsItself(Appending):
    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.trainer.should_stop = True


class DrawsAtTheEnd(Appending):
    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.log("noise", torch.randn(()))
