"""LightningModules as people write them, each with its data, to be fitted stacked and one at a time."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchmetrics import MeanMetric, MeanSquaredError, MetricCollection
from torchmetrics.classification import BinaryAccuracy, BinaryF1Score


def table(n: int = 20, width: int = 6) -> tuple[Tensor, Tensor]:
    inputs = torch.linspace(-2, 2, n * width).reshape(n, width).sin()
    return inputs, (inputs.sum(1) > 0).long()


class Rows(LightningDataModule):
    """The same rows for all, in an order of each replica's own, with an incomplete last batch."""

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(*table()), batch_size=8, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(TensorDataset(*table(12)), batch_size=8)


class Drawn(LightningDataModule):
    """Rows that are drawn for each replica."""

    def setup(self, stage: str) -> None:
        inputs = torch.randn(20, 6)
        self.rows = TensorDataset(inputs, (inputs.sum(1) > 0).long())

    def train_dataloader(self) -> Any:
        return DataLoader(self.rows, batch_size=8, shuffle=True)


class Classifier(LightningModule):
    """Cross-entropy of a network, logged in training and in validation."""

    def __init__(self, network: Callable[[], nn.Module] | None = None) -> None:
        super().__init__()
        self.network = nn.Linear(6, 2) if network is None else network()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.network(inputs)
        return outputs

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, targets = batch
        loss = functional.cross_entropy(self(inputs), targets)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, targets = batch
        outputs = self(inputs)
        accuracy = (outputs.argmax(1) == targets).float().mean()
        self.log_dict({"val_loss": functional.cross_entropy(outputs, targets), "val_acc": accuracy}, prog_bar=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.05)


class Waving(Classifier):
    """Logs metrics that improve by chance alone."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("train_wave", self.wave(batch[0]), on_step=True, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_wave", self.wave(batch[0]))
        return super().validation_step(batch, batch_idx)

    def wave(self, inputs: Tensor) -> Tensor:
        """A metric that improves by chance alone."""
        waves: Tensor = (20 * self(inputs)).sin()
        return 2 + waves.mean()


class Scheduled(Classifier):
    """Batch norm, NAdam with decay of weights alone, and a cosine schedule by step."""

    def __init__(self) -> None:
        # No bias before the norm: its gradient is rounding alone, which NAdam would scale up.
        inner = partial(nn.Linear, 6, 5, bias=False)
        super().__init__(lambda: nn.Sequential(inner(), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)))

    def configure_optimizers(self) -> Any:
        decayed = [parameter for parameter in self.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.parameters() if parameter.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": 0.1}, {"params": others}]
        optimizer = torch.optim.NAdam(groups, lr=0.03)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class ByEpoch(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9, nesterov=True)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]


class OneCycle(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Accumulators(Classifier):
    """Adagrad has state before its first step."""

    def configure_optimizers(self) -> Any:
        return torch.optim.Adagrad(self.parameters(), lr=0.1, initial_accumulator_value=0.2)


class Autoencoder(Classifier):
    def __init__(self) -> None:
        super().__init__(lambda: nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 6)))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, _ = batch
        loss = functional.mse_loss(self(inputs), inputs)
        return {"loss": loss, "reconstruction": loss.detach()}

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", functional.mse_loss(self(batch[0]), batch[0]))


class Tagger(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.GRU(2, 4, batch_first=True)
        self.network = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.network(self.layers(inputs.reshape(len(inputs), 3, 2))[0][:, -1])
        return outputs


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv1d(2, 2, 3, padding=1, bias=False) for _ in range(2))
        self.norm, self.head = nn.BatchNorm1d(2), nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        images = inputs.reshape(len(inputs), 2, 3)
        outputs: Tensor = self.head((images + self.second(self.norm(self.first(images)).relu())).flatten(1))
        return outputs


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(2, 1, 4, dropout=0.2, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.layer(inputs.reshape(len(inputs), 3, 2)).flatten(1))
        return outputs


class Variational(Autoencoder):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 4), nn.Linear(2, 6)
        self.network = nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        mean, log_variance = self.encoder(inputs).chunk(2, -1)
        outputs: Tensor = self.decoder(mean + torch.randn_like(mean) * (0.5 * log_variance).exp())
        return outputs


class NamedRows(Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> dict[str, Any]:
        inputs, targets = table()
        return {"inputs": inputs[index], "target": int(targets[index])}


class Named(Rows):
    def train_dataloader(self) -> Any:
        return DataLoader(NamedRows(), batch_size=8, shuffle=True, drop_last=True)

    def val_dataloader(self) -> Any:
        return DataLoader(NamedRows(), batch_size=8)


class OfDicts(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step((batch["inputs"], batch["target"]), batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return super().validation_step((batch["inputs"], batch["target"]), batch_idx)


class SeveralLoaders(Rows):
    def val_dataloader(self) -> Any:
        return [DataLoader(TensorDataset(*table(n)), batch_size=8) for n in (8, 12)]


class OfSeveralLoaders(Classifier):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        super().validation_step(batch, batch_idx)


class TwoOffsets(Classifier):
    """Two parameters get the same gradient, to which the optimizer adds momentum in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(2)), nn.Parameter(torch.randn(2))

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) + (self.first + self.second)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.9, nesterov=True, foreach=True)


class Weighted(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor([0.3, 0.7]))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, targets = batch
        return functional.cross_entropy(self(inputs), targets, weight=self.weights)  # type: ignore[arg-type]


class ReadsTheTrainer(Classifier):
    """The loss warms up with the number of updates, and is scaled by the epoch."""

    def training_step(self, batch: Any) -> Any:  # type: ignore[override]
        inputs, targets = batch
        share = min(1.0, (self.global_step + 1) / self.trainer.max_steps) / (1 + self.current_epoch)
        loss = functional.cross_entropy(self(inputs), targets) * share
        self.log("share", share)
        return loss


# One at a time


class WithMetricObjects(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.accuracy = BinaryAccuracy()

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.accuracy(self(batch[0]).argmax(1), batch[1])
        self.log("val_acc", self.accuracy)


class WithManyMetrics(Classifier):
    """Metrics as people use them: logged as objects and as values, called and updated, in training and validation."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)))
        self.of_training = BinaryAccuracy()
        self.metrics: Any = nn.ModuleDict({"f1": BinaryF1Score(), "loss": MeanMetric()})
        self.error = MeanSquaredError()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, targets = batch
        outputs = self(inputs)
        share = self.of_training(outputs.argmax(1), targets)
        self.log("share", share, on_step=True, on_epoch=True)
        self.log("train_acc", self.of_training, on_step=True, on_epoch=True)
        return functional.cross_entropy(outputs, targets)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        inputs, targets = batch
        outputs = self(inputs)
        self.metrics["f1"].update(preds=outputs.softmax(1)[:, 1], target=targets)
        self.metrics["loss"].update(functional.cross_entropy(outputs, targets), weight=len(targets))
        self.log("val_f1", self.metrics["f1"])
        self.log_dict({"val_loss": self.metrics["loss"], "val_error": self.error(outputs[:, 1], targets.double())})


class Collected(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.metrics = MetricCollection({"accuracy": BinaryAccuracy()})


class ComputesItsMetric(WithMetricObjects):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.accuracy.update(self(batch[0]).argmax(1), batch[1])
        self.log("val_acc", self.accuracy.compute())


class CountsOneMetricTwice(WithMetricObjects):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.accuracy(self(batch[0]).argmax(1), batch[1])
        self.log("train_acc", self.accuracy)
        return super().training_step(batch, batch_idx)


class Remembering(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.newest = super().training_step(batch, batch_idx)
        return self.newest


class TwoOptimizers(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD([parameter], lr=0.1) for parameter in self.parameters()]


class ReadsNumbers(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log("copy", loss.item())
        return loss


class Branching(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return loss if loss > 0.1 else loss * 2


class Clamping(Classifier):
    def on_train_batch_end(self, *_: Any) -> None:
        for parameter in self.parameters():
            parameter.data.clamp_(-1, 1)


class ByCurvature(Classifier):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters())


class NoisyRows(Dataset[Any]):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        inputs, targets = table()
        return inputs[index] + torch.randn(6), targets[index]


class Augmented(Rows):
    def train_dataloader(self) -> Any:
        return DataLoader(NoisyRows(), batch_size=8, shuffle=True)
