"""LightningModules that do in later steps, or outside of steps, what their first step does not show."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MeanMetric

from tests.running.posted_modules import Classifier, table


class TwoHeads(Classifier):
    """A second head, which the loss reaches in some steps."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(6, 2)

    def uses_other(self, batch_idx: int) -> bool:
        raise NotImplementedError

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, targets = batch
        loss = functional.cross_entropy(self(inputs), targets)
        return loss + functional.cross_entropy(self.other(inputs), targets) if self.uses_other(batch_idx) else loss


class HeadFromLater(TwoHeads):
    def uses_other(self, batch_idx: int) -> bool:
        return self.current_epoch >= 1


class HeadUntilLater(TwoHeads):
    def uses_other(self, batch_idx: int) -> bool:
        return self.current_epoch < 1


class HeadsInTurn(TwoHeads):
    def uses_other(self, batch_idx: int) -> bool:
        return batch_idx % 2 == 0


class Unfreezes(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        for parameter in list(self.parameters())[:1]:
            parameter.requires_grad = self.current_epoch >= 1
        return super().training_step(batch, batch_idx)


class DrawsLater(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        share = np.random.default_rng().random() if self.current_epoch < 0 else 1.0
        if self.current_epoch >= 1:
            share = np.random.random()  # noqa: NPY002
        return super().training_step(batch, batch_idx) * share


class RemembersLater(Classifier):
    counted = 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 3:
            self.counted += 1
        return super().training_step(batch, batch_idx)


class CountsInValidation(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.tensor(0.0))

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        assert isinstance(self.seen, Tensor)
        self.seen += len(batch[1])
        self.log("seen", self.seen)


class FreezesInConfigure(Classifier):
    def configure_optimizers(self) -> Any:
        next(iter(self.parameters())).requires_grad_(False)
        return super().configure_optimizers()


class ClampsAfterwards(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        optimizer.register_step_post_hook(lambda *_: None)
        return optimizer


class ReadsWhatLoggersGot(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.trainer.logged_metrics.get("train_loss")
        return super().training_step(batch, batch_idx)


class FromAGenerator(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.weights: Iterator[float] = iter([1.0, 2.0] * 100)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) * next(self.weights)


class BestInABuffer(Classifier):
    """Keeps the best of its epochs in a buffer that the end of an epoch assigns anew, or changes in place."""

    in_place = False

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("best", torch.tensor(-1.0))

    def on_validation_epoch_end(self) -> None:
        module: Any = self
        norm = next(iter(self.parameters())).detach().norm()
        if self.in_place:
            module.best.copy_(norm)
        else:
            module.best = torch.maximum(module.best, norm)
        self.log("best", module.best)


class BestInPlace(BestInABuffer):
    in_place = True


class AppendsInTraining(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 2:
            self.sizes.append(len(batch[1]))
        return super().training_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self.sizes.clear()


class AppendsProbabilities(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.probabilities: list[Tensor] = []

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.probabilities.append(self(batch[0]).softmax(1))

    def on_validation_epoch_end(self) -> None:
        self.log("surest", torch.cat(self.probabilities).amax(1).mean())
        self.probabilities.clear()


class OneNameForTwoLoaders(Classifier):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        self.log("v", self(batch[0]).mean(), add_dataloader_idx=False)


class RunningLoss(Classifier):
    """Divides by a running mean of its loss, a buffer that is assigned anew."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean_loss", torch.tensor(1.0))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.mean_loss: Tensor = 0.9 * self.mean_loss + 0.1 * loss.detach()
        return loss / self.mean_loss


class LogsEverySecondEpoch(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.mean = MeanMetric()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.mean.update(loss.detach())
        if self.current_epoch % 2 == 1:
            self.log("mean", self.mean, on_step=False, on_epoch=True)
        return loss


class BiasBeforeBatchNorm(Classifier):
    def __init__(self) -> None:
        super().__init__(lambda: nn.Sequential(nn.Linear(6, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 2)))


class NoisyTail(Dataset[Any]):
    """Examples of which the last are other ones in every reading."""

    def __init__(self) -> None:
        self.generator, (self.inputs, self.targets) = np.random.default_rng(0), table(80)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        noise = float(self.generator.normal()) if index >= 60 else 0.0
        return self.inputs[index] + noise, self.targets[index]


def noisy_tail() -> Any:
    return DataLoader(NoisyTail(), batch_size=8, shuffle=True)
