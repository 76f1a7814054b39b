"""Modules and data that look at the fit they are in: fitted together they see what a fit of their own shows them."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, Subset, TensorDataset

from lossact import SGD, Accuracy, Arrays, Condition, Experiment, LightningCondition, Store
from lossact.errors import InputError
from lossact.running import fit_watcher
from lossact.training.compute_config import ComputeConfig

DOUBLE = ComputeConfig(precision="64-true", threads=1)


def rows(n: int = 60, seed: int = 0) -> TensorDataset:
    inputs = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, inputs[:, :3].argmax(1))


class Module(LightningModule):
    """A classifier with a head that it does not use."""

    total: float
    weights: Tensor | None

    def __init__(self, rate: float = 0.05) -> None:
        super().__init__()
        self.rate, self.total, self.weights = rate, 1, None
        self.net, self.aux = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), nn.Linear(6, 3)

    def loss(self, batch: Any, more: Tensor | float = 0.0, weight: Tensor | None = None) -> Tensor:
        return functional.cross_entropy(self.net(batch[0]) + more, batch[1], weight=weight)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.rate)

    def train_dataloader(self) -> Any:
        return DataLoader(rows(), batch_size=10, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(rows(30, 1), batch_size=16)


def condition(module: Any, **changes: Any) -> LightningCondition:
    given: dict[str, Any] = {"measures": ["val_loss"], "budget": 15, "name": module.__name__}
    return LightningCondition(module=module, **given | changes)


def values(*conditions: Any, n: int = 3) -> tuple[list[np.ndarray], list[str]]:
    """The measures of each condition, and the reasons why replicas were fitted one at a time."""
    with Store(None) as store:
        experiment = Experiment(store=store, compute_config=DOUBLE)
        trials = experiment.trials(list(conditions), n)
    measured = [each.values[name][:n] for each, of in zip(trials, conditions, strict=True) for name in of.measures]
    return measured, list(experiment.one_at_a_time.values())


class BatchSampled(Module):
    def train_dataloader(self) -> Any:
        data = rows()
        return DataLoader(data, batch_sampler=BatchSampler(RandomSampler(data), 10, drop_last=False))


class AuxiliaryLater(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch, 3 * self.aux(batch[0]) if self.global_step >= 10 else 0.0)


class AuxiliaryAtTimes(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch, self.aux(batch[0]) if batch_idx != 3 else 0.0)


class Curriculum(Dataset[Any]):
    def __init__(self, module: LightningModule) -> None:
        self.module, (self.inputs, self.classes) = module, rows().tensors

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        return self.inputs[index] * (1 + self.module.current_epoch), self.classes[index]


class ByEpoch(Module):
    def train_dataloader(self) -> Any:
        return DataLoader(Curriculum(self), batch_size=10, shuffle=True)


class GradientsLogged(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        held = [parameter.grad.norm() for parameter in self.parameters() if parameter.grad is not None]
        self.log("norm", torch.stack(held).norm() if held else 0.0)  # of the update before
        return self.loss(batch)


class StateLogged(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        state = self.trainer.optimizers[0].state
        self.log("norm", float(sum(parameter in state for parameter in self.parameters())))
        return self.loss(batch)


class Patient(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        stopping = self.trainer.early_stopping_callback
        return self.loss(batch) * (1 + (stopping.wait_count if isinstance(stopping, EarlyStopping) else 0))


class Listed(Dataset[Any]):
    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        return rows()[index]

    def __getitems__(self, indices: list[int]) -> Any:
        return [(inputs * 2, classes) for inputs, classes in map(rows().__getitem__, indices)]


class ReadInLists(Module):
    def train_dataloader(self) -> Any:
        return DataLoader(Subset(Listed(), range(50)), batch_size=10, shuffle=True)


class RarelyFlipped(Dataset[Any]):
    def __init__(self) -> None:
        self.generator = np.random.default_rng(torch.initial_seed() % 1000)

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        inputs, classes = rows()[index]
        return inputs * (-1 if self.generator.random() < 1e-9 else 1), classes


class Flipped(Module):
    def train_dataloader(self) -> Any:
        return DataLoader(RarelyFlipped(), batch_size=10, shuffle=True)


class DrawnWithReplacement(Module):
    def train_dataloader(self) -> Any:
        data, generator = rows(), torch.Generator().manual_seed(torch.initial_seed() % 1000)
        return DataLoader(data, batch_size=5, sampler=RandomSampler(data, replacement=True, generator=generator))


class DrawnTwice(Module):
    def train_dataloader(self) -> Any:
        data, generator = rows(), torch.Generator().manual_seed(torch.initial_seed() % 1000)
        return DataLoader(data, batch_size=5, sampler=RandomSampler(data, num_samples=120, generator=generator))


class LengthRead(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        assert self.trainer.logger is None
        loader: Any = self.trainer.train_dataloader
        return self.loss(batch) * (1 + batch_idx / len(loader))


class LoaderRead(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch) * (1 + len(getattr(self.trainer.train_dataloader, "dataset", ())) / 100)


class Data(LightningDataModule):
    weights = torch.tensor([1.0, 5.0, 0.2]).double()

    def train_dataloader(self) -> Any:
        size = 5 if self.trainer is None else 20 // self.trainer.world_size
        return DataLoader(rows(), batch_size=size, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(rows(30, 1), batch_size=16)


class WithoutLoaders(Module):
    train_dataloader, val_dataloader = LightningModule.train_dataloader, LightningModule.val_dataloader


class WeightedByData(WithoutLoaders):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch, weight=getattr(self.trainer.datamodule, "weights", None))  # type: ignore[attr-defined]


class Lazy(Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(3))

    def configure_model(self) -> None:
        self.net(torch.zeros(1, 6))


class SampledByAList(Module):
    def train_dataloader(self) -> Any:
        return DataLoader(rows(), batch_size=10, sampler=list(range(60)))


class NoiseOfTheOtherStep(Module):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch, torch.randn_like(batch[0][:, :3]))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))


class TrainedByValidation(Module):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch, torch.randn_like(batch[0][:, :3]))
        if not self.training:
            self.log("val_loss", loss)
        return loss

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = self.validation_step(batch, batch_idx)
        return loss


SEEN: dict[type[LightningModule], tuple[str | None, dict[str, Any]]] = {
    BatchSampled: (None, {}),
    AuxiliaryLater: ("its loss depends on aux.weight in some steps and not in others", {}),
    AuxiliaryAtTimes: ("its loss depends on aux.weight in some steps and not in others", {}),
    ByEpoch: ("its data read trainer.current_epoch", {}),
    GradientsLogged: ("its norm is another one when replicas are stacked", {"measures": ["norm"]}),
    StateLogged: ("its steps read what the optimizer keeps", {"measures": ["norm"]}),
    Patient: ("its steps read trainer.early_stopping_callback", {}),
    ReadInLists: ("its data set reads several examples at once, by __getitems__", {}),
    Flipped: ("its data change from one reading to the next", {}),
    DrawnWithReplacement: (
        "its sampler draws on within an epoch, whose batches its Trainer limits",
        {"trainer": {"limit_train_batches": 4}},
    ),
    DrawnTwice: (
        "its sampler draws on within an epoch, whose batches its Trainer limits",
        {"trainer": {"limit_train_batches": 4}},
    ),
    LengthRead: (None, {}),
    LoaderRead: ("its steps read trainer.train_dataloader", {}),
    WithoutLoaders: (None, {"data": Data}),
    WeightedByData: ("its steps read trainer.datamodule", {"data": Data}),
    SampledByAList: ("its DataLoader draws by a list", {}),
    NoiseOfTheOtherStep: (None, {}),
    TrainedByValidation: (None, {}),
}


@pytest.mark.parametrize("module", SEEN, ids=lambda module: module.__name__)
def test_replicas_see_what_a_fit_of_their_own_shows_them(module: type[LightningModule]) -> None:
    reason, changes = SEEN[module]
    (together,), reasons = values(condition(module, **changes))
    (alone,), _ = values(condition(module, stacked=False, **changes))
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert len(set(alone)) > 1 or module is StateLogged
    assert reasons == ([] if reason is None else [reason])


class Annealed(Module):
    def configure_optimizers(self) -> Any:
        self.total = int(self.trainer.estimated_stepping_batches)
        return super().configure_optimizers()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch) * (1 - min(1.0, self.global_step / self.total))


class Weighted(Module):
    def train_dataloader(self) -> Any:
        data = rows()
        self.weights = 100 * torch.bincount(data.tensors[1]).double() ** -2
        return DataLoader(data, batch_size=10, shuffle=True)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch, weight=self.weights)


class RateKept(Module):
    def configure_optimizers(self) -> Any:
        self.total = self.rate
        return super().configure_optimizers()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(batch) * (self.total if batch_idx == 2 else 1.0)


@pytest.mark.parametrize("module", [Annealed, Weighted, RateKept])
def test_attributes_that_are_set_before_the_first_step(module: type[LightningModule]) -> None:
    conditions = [condition(module, config={"rate": rate}, name=f"rate {rate}") for rate in (0.01, 0.05)]
    together, reasons = values(*conditions)
    for each, found in zip(conditions, together, strict=True):
        (alone,), _ = values(condition(module, config=each.config, stacked=False))
        np.testing.assert_allclose(found, alone, rtol=1e-9)
    assert not reasons


class LastWeights(Module):
    found: ClassVar[list[float]] = []

    def on_train_end(self) -> None:
        with torch.no_grad():
            self.eval()
            losses = [float(self.loss((x.double(), y))) * len(y) for x, y in self.val_dataloader()]
            self.found.append(sum(losses) / 30)


@pytest.mark.parametrize("changes", [{"budget": 8}, {"budget": 12}, {"budget": 18, "trainer": {"max_epochs": 3}}])
def test_a_measure_is_of_the_last_weights_whichever_epochs_are_validated(changes: dict[str, Any]) -> None:
    trainer = {"check_val_every_n_epoch": 2} | changes.get("trainer", {})
    LastWeights.found.clear()
    (alone,), _ = values(condition(LastWeights, **changes | {"trainer": trainer}), n=2)
    np.testing.assert_allclose(alone, LastWeights.found[:2], rtol=1e-9)
    (together,), reasons = values(condition(Module, **changes | {"trainer": trainer}), n=2)
    np.testing.assert_allclose(together, alone, rtol=1e-9)
    assert not reasons


class Skipping(Module):
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
        return -1 if self.global_step >= 8 else None


class NoMoreSteps(Module):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        if self.global_step < 8:
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()


@pytest.mark.parametrize("module", [Skipping, NoMoreSteps])
def test_a_fit_whose_optimizer_steps_no_more_ends(
    module: type[LightningModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_watcher, "MOST_IDLE_EPOCHS", 20)
    with pytest.raises(InputError, match=r"no optimizer has stepped for \d+ epochs .* after 8 of 15 updates"):
        values(condition(module))


def test_a_measure_that_training_and_validation_log_is_ambiguous() -> None:
    class Both(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            self.log("val_loss", self.loss(batch), on_epoch=True)
            return self.loss(batch)

    with pytest.raises(InputError, match="training, over the epoch, and validation both log the measure 'val_loss'"):
        values(condition(Both))


class UsedLater(nn.Module):
    passes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net, self.aux = nn.Linear(6, 3), nn.Linear(6, 3)
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        outputs: Tensor = self.net(x)
        return outputs + self.aux(x) if int(self.passes) > 5 else outputs


def test_a_network_that_uses_a_parameter_later_is_refused() -> None:
    x, y = (tensor.numpy() for tensor in rows().tensors)
    later = Condition(
        network=UsedLater, loss=functional.cross_entropy, optimizer=SGD(learning_rate=0.1), data=Arrays(x, y),
        budget=10, stacked=False, measures={"accuracy": Accuracy()},
    )  # fmt: skip
    with pytest.raises(InputError, match=r"the loss depends on aux\.weight in some passes and not in others"):
        values(later)
