"""What users' functions for modules and data return is checked before it can make a wrong verdict."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lossact import LightningCondition, evaluate, faster, higher
from lossact.errors import ClaimError, InputError
from lossact.running.module_making import make_module
from lossact.running.run_digest import are_telling
from lossact.running.stacked_fit import fit_stacked
from lossact.training.compute_config import ComputeConfig
from tests.running import posted_modules as posted

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")


def rows() -> Any:
    return DataLoader(TensorDataset(*posted.table()), batch_size=8, shuffle=True)


def ordered() -> Any:
    return DataLoader(TensorDataset(*posted.table()), batch_size=8)


def without_numbers() -> Any:
    inputs, targets = posted.table()
    return DataLoader(TensorDataset(inputs * torch.nan, targets), batch_size=8, shuffle=True)


class Rated(posted.Classifier):
    def __init__(self, rate: float = 0.05) -> None:
        super().__init__()
        self.rate = rate

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def condition(module: Any, name: str, **changes: Any) -> LightningCondition:
    given: dict[str, Any] = {"data": rows, "metric": "train_loss", "at_most": 0.6, "budget": 20} | changes
    return LightningCondition(module=module, name=name, **given)


def claimed(module: Any, **changes: Any) -> Any:
    """That a rate of 0.05 is faster than one of 0.04."""
    slower = condition(module, "slower", config={"rate": 0.04}, **changes)
    return evaluate(faster(condition(module, "faster", **changes), than=slower), max_replicas=32)


LOADED, FROZEN, NORMED = nn.Linear(6, 2), nn.Linear(6, 6).requires_grad_(False), nn.BatchNorm1d(6, affine=False)
STANDING = nn.BatchNorm1d(6, affine=False).eval()


class Tuned(Rated):
    """It goes on from weights that are loaded once."""

    def __init__(self, rate: float = 0.05) -> None:
        super().__init__(rate)
        self.network = LOADED


class Normed(Rated):
    """It shares the running statistics of a batch norm."""

    def __init__(self, rate: float = 0.05) -> None:
        super().__init__(rate)
        self.network = nn.Sequential(NORMED, nn.Linear(6, 2))


class OnFeatures(Rated):
    """It shares what nobody trains."""

    def __init__(self, rate: float = 0.05) -> None:
        super().__init__(rate)
        self.network = nn.Sequential(FROZEN, nn.Linear(6, 2))


class OnNormed(Rated):
    """It shares a batch norm whose statistics stay."""

    def __init__(self, rate: float = 0.05) -> None:
        super().__init__(rate)
        self.network = nn.Sequential(STANDING, nn.Linear(6, 2))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        STANDING.eval()
        return super().training_step(batch, batch_idx)


class Copied(Rated):
    def __init__(self, rate: float = 0.05) -> None:
        super().__init__(rate)
        self.network = nn.Sequential(copy.deepcopy(FROZEN), nn.Linear(6, 2))


@pytest.mark.parametrize("stacked", ["auto", False])
@pytest.mark.parametrize(("module", "name"), [(Tuned, r"network\.weight"), (Normed, r"network\.0\.\w+")])
def test_replicas_that_go_on_from_each_other_are_refused(module: Any, name: str, stacked: Any) -> None:
    with pytest.raises(InputError, match=f"several replicas the same '{name}', which an earlier one has trained"):
        claimed(module, stacked=stacked)


def test_conditions_that_go_on_from_each_other_are_refused() -> None:
    changes: dict[str, Any] = {"metric": None, "at_most": None, "measures": ["train_loss"], "stacked": False}
    first = condition(Tuned, "first", **changes)
    with pytest.raises(InputError, match="which an earlier one has trained"):
        evaluate(higher("train_loss", first, than=condition(Tuned, "second", config={"rate": 0.04}, **changes)))


@pytest.mark.parametrize("module", [OnFeatures, Copied])
def test_what_nobody_trains_may_be_shared(module: Any) -> None:
    assert claimed(module).decision.replicas >= 10


class OfThreeSeeds(Rated):
    def __init__(self, rate: float = 0.05) -> None:
        torch.manual_seed(torch.initial_seed() % 3)
        super().__init__(rate)


@pytest.mark.parametrize("stacked", ["auto", False])
def test_copies_of_few_seeds_are_refused(stacked: Any) -> None:
    with pytest.raises(ClaimError, match="replicas computed exactly what another one did, so they are copies"):
        claimed(OfThreeSeeds, data=ordered, stacked=stacked)


def test_few_numbers_tell_no_runs_apart() -> None:
    assert are_telling([torch.zeros(3), torch.arange(10.0)])
    assert not are_telling([torch.zeros(1000), torch.ones(3)])
    assert not are_telling([torch.arange(100.0), torch.tensor([torch.inf])])


def test_replicas_that_all_diverge_at_once_are_said_to() -> None:
    with pytest.raises(ClaimError, match=r"the first 8 replicas diverged alike.*NaN in its data"):
        claimed(Rated, data=without_numbers)


class WithoutOptimizer(Rated):
    def configure_optimizers(self) -> Any:
        return None


class WithoutLoss(Rated):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        super().training_step(batch, batch_idx)


def nothing() -> Any:
    return None


def data_set() -> Any:
    return TensorDataset(*posted.table())


@pytest.mark.parametrize("stacked", ["auto", False])
@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (WithoutOptimizer, {"at_most": 1e-3}, "configure_optimizers returned None; have it return an optimizer"),
        (WithoutLoss, {"at_most": 1e-3}, "training_step returned no loss in 20 updates; return one"),
        (Rated, {"data": nothing}, "data returned None; have it return a DataLoader, or a LightningDataModule"),
        (Rated, {"data": data_set}, "data returned a TensorDataset; have it return a DataLoader"),
    ],
)
def test_what_can_train_nothing_is_an_error(module: Any, changes: dict[str, Any], message: str, stacked: Any) -> None:
    with pytest.raises(InputError, match=message):
        claimed(module, stacked=stacked, **changes)


def test_conditions_with_targets_of_their_own_are_noted() -> None:
    verdict = evaluate(faster(condition(Rated, "easy", at_most=0.65), than=condition(Rated, "hard")), max_replicas=16)
    assert "note: targets differ: easy: train_loss at most 0.65; hard: train_loss at most 0.6" in str(verdict)
    assert "targets differ" not in str(claimed(Rated))


@pytest.mark.parametrize("module", [OnFeatures, OnNormed])
def test_probing_a_single_replica_leaves_what_is_shared_as_it_was(module: Any) -> None:
    given = condition(module, "single")
    fit_stacked([(given, 0)], 0, ComputeConfig(threads=1))
    assert isinstance(make_module(given), module)
