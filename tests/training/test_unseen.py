"""A test on data that a function draws is a test on examples that were not learned."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lossact import Accuracy, Adam, Condition, GeneratedData
from lossact.errors import InputError
from lossact.running.training_module import training_module
from lossact.training.unseen import check_unseen

X = np.random.default_rng(0).standard_normal((40, 3))
Y = (X[:, 0] > 0).astype(float)


def fixed(generator: np.random.Generator) -> Any:
    return X, Y


def shuffled(generator: np.random.Generator) -> Any:
    order = generator.permutation(40)
    return X[order], Y[order]


def own_seed(generator: np.random.Generator) -> Any:
    return np.random.default_rng(3).standard_normal((40, 3)), Y


def cut(share: float) -> Any:
    """Training and validation cut from one pool, anew for each generator."""

    def split(generator: np.random.Generator) -> Any:
        order, count = generator.permutation(40), int(40 * share)
        return X[order[:count]], Y[order[:count]], (X[order[count:]], Y[order[count:]])

    return split


def cut_by_a_seed_of_its_own(generator: np.random.Generator) -> Any:
    """The same 36 of 40 rows, and four fresh ones: most test examples were learned."""
    order = np.random.default_rng(0).permutation(40)[:36]
    inputs = np.concatenate([X[order], generator.standard_normal((4, 3))])
    return inputs, (inputs[:, 0] > 0).astype(float)


def three_bits(generator: np.random.Generator) -> Any:
    """Inputs of which there are only 8: any two draws share them."""
    inputs = generator.integers(0, 2, (40, 3)).astype(float)
    return inputs, inputs.sum(1) % 2


def with_replacement(generator: np.random.Generator) -> Any:
    chosen = generator.integers(0, 40, 40)
    return X[chosen], Y[chosen]


def fresh(generator: np.random.Generator) -> Any:
    inputs = generator.standard_normal((40, 3))
    return inputs, (inputs[:, 0] > 0).astype(float)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


def module(draw: Any, replicas: int) -> Any:
    condition = Condition(
        network=network,
        loss=loss,
        optimizer=Adam(),
        data=GeneratedData(draw),
        target=Accuracy().at_least(0.9),
        budget=5,
    )
    return training_module(condition, 0, range(replicas))


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("draw", [fixed, shuffled, own_seed])
def test_a_draw_that_is_the_training_set_is_refused(draw: Any, replicas: int) -> None:
    with pytest.raises(InputError, match="the same examples for every generator, so a test would measure training"):
        module(draw, replicas).test_dataloader()


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("draw", [cut(0.9), cut(0.3), cut_by_a_seed_of_its_own], ids=["most", "some", "fixed"])
def test_a_draw_from_the_pool_that_was_learned_is_refused(draw: Any, replicas: int) -> None:
    with pytest.raises(InputError, match=r"\d+ of the (36|12|40) examples of the test were also learned, for"):
        module(draw, replicas).test_dataloader()


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("draw", [three_bits, with_replacement])
def test_examples_that_repeat_within_a_draw_may_repeat_in_a_test(draw: Any, replicas: int) -> None:
    with pytest.warns(UserWarning, match=r"\d\d of the 40 examples of the test were also learned: test accuracy is"):
        module(draw, replicas).test_dataloader()


def test_most_rows_of_a_test_are_counted_as_learned() -> None:
    """1,200 of 1,317 rows are learned, and 1,200 drawn again: 1,093 are expected to be among them."""
    pool = np.random.default_rng(0).standard_normal((1317, 3))
    drawn = [pool[np.random.default_rng(seed).permutation(1317)[:1200]] for seed in (1, 2)]
    training, test = ((torch.from_numpy(rows), torch.zeros(1200)) for rows in drawn)
    repeated = len({row.tobytes() for row in drawn[0]} & {row.tobytes() for row in drawn[1]})
    assert 1080 < repeated < 1110
    with pytest.raises(InputError, match=f"^{repeated} of the 1200 examples of the test were also learned"):
        check_unseen(training, test)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_fresh_draw_is_a_test(replicas: int) -> None:
    inputs, _ = next(iter(module(fresh, replicas).test_dataloader()))
    assert inputs.shape[-2:] == (40, 3)
