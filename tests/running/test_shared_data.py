"""Data that all replicas share, and data that follow from each replica's seed without drawing."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lossact.running.external import train_one
from lossact.running.stacked_fit import TRIED, PreparedReplicas, fit_stacked
from lossact.running.stacking import replica_seed
from lossact.training.stackable import NotStackableError
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import DOUBLE, condition

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")
REPLICAS = range(6)


def seeded_examples() -> Any:
    generator = torch.Generator().manual_seed(torch.initial_seed())
    inputs = torch.randn(24, 6, generator=generator)
    return DataLoader(TensorDataset(inputs, (inputs.sum(1) > 0).long()), batch_size=8)


def seeded_order() -> Any:
    generator = torch.Generator().manual_seed(torch.initial_seed())
    return DataLoader(TensorDataset(*posted.table(24)), batch_size=8, shuffle=True, generator=generator)


def fixed_order() -> Any:
    generator = torch.Generator().manual_seed(5)
    return DataLoader(TensorDataset(*posted.table(24)), batch_size=8, shuffle=True, generator=generator)


def seeded_labels() -> Any:
    """Read from a data set that computes them, by the seed that Lightning leaves in the environment."""
    seed = int(os.environ["PL_GLOBAL_SEED"])

    class Labelled(torch.utils.data.Dataset[Any]):
        def __init__(self) -> None:
            self.inputs, _ = posted.table(24)

        def __len__(self) -> int:
            return 24

        def __getitem__(self, index: int) -> Any:
            return self.inputs[index], torch.tensor((index * seed) % 7 > 2).long()

    return DataLoader(Labelled(), batch_size=8)


@pytest.mark.parametrize("data", [seeded_examples, seeded_order, seeded_labels, fixed_order])
def test_each_replica_trains_on_the_data_of_a_fit_of_its_own(data: Callable[[], Any]) -> None:
    given = condition(posted.Classifier, data, measures=["train_loss"], metric=None, at_most=None)
    together = fit_stacked([(given, replica) for replica in REPLICAS], 0, DOUBLE)
    alone = [train_one(given, replica_seed(0, replica), DOUBLE, draws_for=(0, replica)) for replica in REPLICAS]
    values, expected = ([run.values["train_loss"] for run in runs] for runs in (together, alone))
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    assert len({round(float(value), 12) for value in values}) == len(REPLICAS)


class Validating(posted.Classifier):
    """Validates on rows that follow from each replica's seed."""

    def val_dataloader(self) -> Any:
        return seeded_examples()


def test_a_module_validates_on_its_own_data_where_data_are_for_training() -> None:
    given = condition(Validating, fixed_order, measures=["val_loss", "val_acc"], metric=None, at_most=None)
    together = fit_stacked([(given, replica) for replica in REPLICAS], 0, DOUBLE)
    alone = [train_one(given, replica_seed(0, replica), DOUBLE, draws_for=(0, replica)) for replica in REPLICAS]
    for name in given.measures:
        values, expected = ([run.values[name] for run in runs] for runs in (together, alone))
        np.testing.assert_allclose(values, expected, rtol=1e-9)
    assert len({round(float(run.values["val_loss"]), 12) for run in together}) == len(REPLICAS)


def test_data_that_are_the_same_are_made_a_few_times_and_held_once() -> None:
    made = []

    def data() -> Any:
        made.append(1)
        return DataLoader(TensorDataset(*posted.table(24)), batch_size=8, shuffle=True)

    prepared = PreparedReplicas([(condition(posted.Classifier, data), replica) for replica in range(9)], 0)
    assert len(made) == TRIED
    assert len(prepared.training_loaders) == 1


def test_data_that_differ_between_some_replicas_are_not_shared() -> None:
    made = []

    def data() -> Any:
        made.append(1)
        return DataLoader(TensorDataset(*posted.table(24 if len(made) < 3 else 16)), batch_size=8)

    with pytest.raises(NotStackableError, match="its data differ between some replicas"):
        PreparedReplicas([(condition(posted.Classifier, data), replica) for replica in REPLICAS], 0)


class AtOnce(torch.utils.data.Dataset[Any]):
    """Gives a batch another content than its examples one by one."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Any:
        inputs, targets = posted.table(16)
        return inputs[index], targets[index]

    def __getitems__(self, indices: list[int]) -> Any:
        batch = [self[index] for index in indices]
        mean = torch.stack([inputs for inputs, _ in batch]).mean(0)
        return [(inputs - mean, target) for inputs, target in batch]


def test_a_data_set_that_is_read_by_the_batch_is_not_stacked() -> None:
    given = condition(posted.Classifier, lambda: DataLoader(AtOnce(), batch_size=8))
    with pytest.raises(NotStackableError, match="__getitems__"):
        PreparedReplicas([(given, replica) for replica in REPLICAS], 0)
