"""What replicas would share outside their modules: global variables, attributes of classes, generators."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lossact import LightningCondition
from lossact.errors import InputError
from lossact.running.external import train_one
from lossact.running.fits_together import FitsTogether
from lossact.running.fitting_width import FittingWidth
from lossact.running.stacked_fit import fit_stacked
from lossact.running.stacking import replica_seed
from lossact.training.stackable import NotStackableError
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import DOUBLE, condition, members

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")
SETTINGS = {"penalty": 0.0, "noise": 0.0}
GENERATOR = torch.Generator().manual_seed(4)


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    SETTINGS.update(penalty=0.0, noise=0.0)
    yield
    OfClass.penalty = 0.0


class Penalised(posted.Classifier):
    """Adds a penalty that it reads where it was set last."""

    def penalty_now(self) -> float:
        raise NotImplementedError

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


@pytest.mark.parametrize("module", [OfClass, OfFile])
def test_conditions_whose_settings_are_not_the_modules_own_do_not_share_a_fit(module: Any) -> None:
    """Compare with fits of each replica alone."""
    both = [
        condition(module, config={"penalty": penalty}, measures=["train_loss"], metric=None, at_most=None)
        for penalty in (0.0, 3.0)
    ]
    fits = FitsTogether(0, DOUBLE, FittingWidth(4))
    fitted = fits.fit([(given, 0) for given in both]) | fits.fit([(both[1], 0)])
    assert fits.apart == "making its module changes a global variable, or an attribute of a class"
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
    with pytest.raises(NotStackableError, match="its steps change a global variable, or an attribute of a class"):
        fit_stacked(members(given), 0, DOUBLE)


class LastEpoch(Curriculum):
    """Changes the setting in the last step."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        SETTINGS["noise"] = float(self.global_step == 6)
        return posted.Classifier.training_step(self, batch, batch_idx)


def test_the_last_step_too() -> None:
    given = condition(LastEpoch, None, budget=7)
    with pytest.raises(NotStackableError, match="its steps change a global variable"):
        fit_stacked(members(given), 0, DOUBLE)


def shuffled(generator: torch.Generator | None) -> Any:
    return DataLoader(TensorDataset(*posted.table()), batch_size=8, shuffle=True, generator=generator)


def from_one_generator() -> Any:
    return shuffled(GENERATOR)


class FromOneGenerator(posted.Classifier):
    def train_dataloader(self) -> Any:
        return shuffled(GENERATOR)


def from_own_generator() -> Any:
    return shuffled(torch.Generator().manual_seed(3))


def in_order() -> Any:
    return DataLoader(TensorDataset(*posted.table()), batch_size=8, generator=GENERATOR)


def train_two(given: LightningCondition, *, stacked: bool) -> None:
    if stacked:
        fit_stacked(members(given), 0, DOUBLE)
    for replica in range(2):
        train_one(given, replica_seed(0, replica), DOUBLE, draws_for=(0, replica))


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize(("module", "data"), [(FromOneGenerator, None), (posted.Classifier, from_one_generator)])
def test_an_order_that_goes_on_from_another_replicas_is_refused(module: Any, data: Any, stacked: bool) -> None:
    with pytest.raises(InputError, match=r"draw their order from one generator.*; make the generator where"):
        train_two(condition(module, data), stacked=stacked)


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("data", [from_own_generator, in_order])
def test_generators_that_decide_nothing_for_others_are_taken(data: Any, stacked: bool) -> None:
    given = condition(posted.Classifier, data)
    train_two(given, stacked=stacked)
    train_two(given, stacked=stacked)
