"""What replicas would share outside their modules: global variables, attributes of classes, generators."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset

from lossact import LightningCondition
from lossact.errors import InputError
from lossact.running.external import train_one
from lossact.running.fits_together import FitsTogether
from lossact.running.fitting_width import FittingWidth
from lossact.running.stacked_fit import fit_stacked
from lossact.running.stacking import replica_seed
from lossact.training.stackable import NotStackableError
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import DOUBLE, REPLICAS, condition, members

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")
SETTINGS = {"penalty": 0.0, "noise": 0.0}
CACHE: dict[str, Any] = {}
GENERATOR = torch.Generator()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    SETTINGS.update(penalty=0.0, noise=0.0)
    CACHE.clear()
    monkeypatch.setitem(globals(), "GENERATOR", torch.Generator().manual_seed(4))
    yield
    OfClass.penalty = 0.0


class Penalised(posted.Classifier):
    """Adds a penalty, which is that of a subclass."""

    def penalty_now(self) -> float:
        return 0.0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss: Tensor = super().training_step(batch, batch_idx)
        return loss + self.penalty_now() * next(self.parameters()).square().sum()


class OfClass(Penalised):
    """Holds its penalty in the class."""

    penalty: ClassVar[float] = 0.0

    def __init__(self, penalty: float) -> None:
        super().__init__()
        OfClass.penalty = penalty

    def penalty_now(self) -> float:
        return OfClass.penalty


class OfFile(Penalised):
    """Holds its penalty in a variable of the file."""

    def __init__(self, penalty: float) -> None:
        super().__init__()
        SETTINGS["penalty"] = penalty

    def penalty_now(self) -> float:
        return SETTINGS["penalty"]


@pytest.mark.parametrize(("module", "name"), [(OfClass, "penalty"), (OfFile, "SETTINGS")])
def test_conditions_whose_settings_are_not_the_modules_own_do_not_share_a_fit(module: Any, name: str) -> None:
    """Compare with fits of each replica alone."""
    both = [
        condition(module, config={"penalty": penalty}, measures=["train_loss"], metric=None, at_most=None)
        for penalty in (0.0, 3.0)
    ]
    fits = FitsTogether(0, DOUBLE, FittingWidth(4))
    fitted = fits.fit([(given, 0) for given in both]) | fits.fit([(both[1], 0)])
    assert fits.apart == f"making its module or its data changes {name}"
    for given in both:
        alone = [train_one(given, replica_seed(0, replica), DOUBLE, draws_for=(0, replica)) for replica in range(2)]
        values, expected = ([run.values["train_loss"] for run in runs] for runs in (fitted[given, 0][:2], alone))
        np.testing.assert_allclose(values, expected, rtol=1e-9)


class Noisier(Dataset[Any]):
    """Its examples follow a setting."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        inputs, classes = posted.table()
        return inputs[index] + SETTINGS["noise"] * (-1) ** index, classes[index]


class Curriculum(posted.Classifier):
    """Sets how noisy the examples are, by the epoch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        SETTINGS["noise"] = float(self.current_epoch)
        return super().training_step(batch, batch_idx)

    def train_dataloader(self) -> Any:
        return DataLoader(Noisier(), batch_size=8)


def test_steps_that_change_settings_are_not_those_of_all_replicas() -> None:
    given = condition(Curriculum, None, budget=12)
    with pytest.raises(NotStackableError, match="its steps change SETTINGS"):
        fit_stacked(members(given), 0, DOUBLE)


class LastEpoch(Curriculum):
    """Changes the setting in the last step."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        SETTINGS["noise"] = float(self.global_step == 6)
        return posted.Classifier.training_step(self, batch, batch_idx)


def test_the_last_step_too() -> None:
    given = condition(LastEpoch, None, budget=7)
    with pytest.raises(NotStackableError, match="its steps change SETTINGS"):
        fit_stacked(members(given), 0, DOUBLE)


class Cached(posted.Classifier):
    """Keeps its data in a variable of the file, and a constant that its first step needs."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        CACHE.setdefault("scale", 2.0)
        return super().training_step(batch, batch_idx)

    def train_dataloader(self) -> Any:
        if "rows" not in CACHE:
            CACHE["rows"] = TensorDataset(*posted.table())
        return DataLoader(CACHE["rows"], batch_size=8, shuffle=True)


def test_what_is_kept_once_for_all_is_shared() -> None:
    assert len(fit_stacked(members(condition(Cached, None)), 0, DOUBLE)) == len(REPLICAS)


def shuffled(generator: torch.Generator) -> Any:
    return DataLoader(TensorDataset(*posted.table()), batch_size=8, shuffle=True, generator=generator)


def from_one_generator() -> Any:
    return shuffled(GENERATOR)


class FromOneGenerator(posted.Classifier):
    def train_dataloader(self) -> Any:
        return shuffled(GENERATOR)


def by_a_sampler() -> Any:
    rows = TensorDataset(*posted.table())
    return DataLoader(rows, batch_sampler=BatchSampler(RandomSampler(rows, generator=GENERATOR), 8, drop_last=False))


def from_one_that_is_seeded_anew() -> Any:
    return shuffled(GENERATOR.manual_seed(torch.initial_seed()))


class ValidatesByOne(posted.Classifier):
    """Its order of validation is drawn from one generator, which its values do not depend on."""

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(*posted.table()), batch_size=8)

    def val_dataloader(self) -> Any:
        return DataLoader(TensorDataset(*posted.table(12)), batch_size=12, shuffle=True, generator=GENERATOR)


def from_own_generator() -> Any:
    return shuffled(torch.Generator().manual_seed(3))


def in_order() -> Any:
    return DataLoader(TensorDataset(*posted.table()), batch_size=8, generator=GENERATOR)


def train_two(given: LightningCondition) -> list[float]:
    """Return the loss that each of two replicas logged last, where it was trained alone."""
    return [
        train_one(given, replica_seed(0, replica), DOUBLE, draws_for=(0, replica)).values["train_loss"]
        for replica in REPLICAS
    ]


def measured(module: Any, data: Any) -> LightningCondition:
    return condition(module, data, measures=["train_loss"], metric=None, at_most=None)


ONE_GENERATOR: dict[str, tuple[Any, Any]] = {
    "of the module": (FromOneGenerator, None),
    "of data": (posted.Classifier, from_one_generator),
    "of a sampler": (posted.Classifier, by_a_sampler),
}


@pytest.mark.parametrize("name", ONE_GENERATOR)
def test_an_order_that_goes_on_from_another_replicas_is_refused(name: str) -> None:
    given = measured(*ONE_GENERATOR[name])
    with pytest.raises(NotStackableError, match="its DataLoaders draw their order from one generator"):
        fit_stacked(members(given), 0, DOUBLE)
    with pytest.raises(InputError, match=r"draw their order from one generator.*; make the generator where"):
        train_two(given)


@pytest.mark.parametrize(
    ("module", "data"),
    [
        (posted.Classifier, from_own_generator),
        (posted.Classifier, in_order),
        (posted.Classifier, from_one_that_is_seeded_anew),
        (ValidatesByOne, None),
    ],
)
def test_orders_that_are_each_replicas_own_or_decide_nothing_are_taken(module: Any, data: Any) -> None:
    given = measured(module, data)
    assert train_two(given) == train_two(given)


@pytest.mark.parametrize("data", [from_own_generator, in_order])
def test_so_they_are_where_replicas_are_fitted_together(data: Any) -> None:
    given = measured(posted.Classifier, data)
    together = [run.values["train_loss"] for run in fit_stacked(members(given), 0, DOUBLE)]
    np.testing.assert_allclose(together, train_two(given), rtol=1e-9)
