"""Datasets of other libraries, saved arrays, test examples, noisy labels and subsets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as f
from torch.utils.data import TensorDataset

from lossact import (
    SGD,
    Accuracy,
    Arrays,
    Condition,
    GeneratedData,
    Loss,
    NoisyLabels,
    SavedArrays,
    Subset,
    replicate,
)
from lossact.claims.axis import Axis
from lossact.errors import DataError, InputError

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((60, 4)), RNG.integers(0, 3, 60)
DATA = Arrays(X[:40], Y[:40], validation=(X[40:50], Y[40:50]), test=(X[50:], Y[50:]))


def draw(generator: np.random.Generator) -> Any:
    return generator.standard_normal((20, 4)), np.arange(20) % 3


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def condition(data: Any, **changes: Any) -> Condition:
    given: dict[str, Any] = {"budget": 20, "measures": {"test": Accuracy(split="test")}}
    return Condition(
        network=network, loss=f.cross_entropy, optimizer=SGD(learning_rate=0.1), data=data, **given | changes
    )


def rows(columns: tuple[str, str], n: int) -> list[dict[str, Any]]:
    """Items as those of Hugging Face's datasets."""
    return [{columns[0]: X[k].tolist(), columns[1]: int(Y[k]), "idx": k} for k in range(n)]


class Iterated:
    """A dataset that has no length."""

    def __iter__(self) -> Any:
        return iter(zip(X[:40], Y[:40], strict=True))


class Streamed(Iterated, torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """One of torch's, whose `__getitem__` is there and raises."""


def test_datasets_are_read_as_the_arrays_that_they_hold() -> None:
    plain = Arrays(X[:40], Y[:40], validation=(X[40:], Y[40:]))
    tensors = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    train, held_out = torch.utils.data.Subset(tensors, range(40)), torch.utils.data.Subset(tensors, range(40, 60))
    assert Arrays.from_dataset(train, validation=held_out) == plain
    listed = rows(("image", "label"), 60)
    assert Arrays.from_dataset(listed[:40], validation=listed[40:], columns=("image", "label")) == plain
    assert Arrays.from_dataset(Iterated()) == Arrays(X[:40], Y[:40])
    assert Arrays.from_dataset(Streamed()) == Arrays(X[:40], Y[:40])
    pairs = [((x[:2], x[2:]), y) for x, y in zip(X, Y, strict=True)]
    assert Arrays.from_dataset(pairs) == Arrays((X[:, :2], X[:, 2:]), Y)


class Noised(TensorDataset):
    """Its items are drawn anew, as those of random transforms."""

    def __getitem__(self, index: Any) -> Any:
        inputs, targets = (tensor[index] for tensor in self.tensors)
        return inputs + torch.randn_like(inputs), targets


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Arrays.from_dataset(Noised(torch.from_numpy(X), torch.from_numpy(Y))),
            r"item 0 of the training dataset is another one when it is read again; .* Condition\(augment=...\)",
        ),
        (lambda: Arrays.from_dataset([]), "the training dataset is empty"),
        (lambda: Arrays.from_dataset(3), "is a int; give a sequence of items"),
        (lambda: Arrays.from_dataset([(X[0], 1, 2)]), "items of the training dataset are tuple; each must be a pair"),
        (lambda: Arrays.from_dataset(rows(("a", "b"), 3)), r"dicts of a, b, idx; say which .* columns=\("),
        (lambda: Arrays.from_dataset(rows(("a", "b"), 3), columns=("a", "c")), "have no 'c'; they have a, b, idx"),
        (lambda: Arrays.from_dataset([(X[0], 0), (X[0][:2], 1)]), r"shapes \(2,\) and \(4,\); resize or pad"),
        (lambda: Arrays.from_dataset([(X[0], "cat"), (X[1], "dog")]), "targets have dtype <U3; numbers are needed"),
        (lambda: Arrays(X, Y, test=(X[:, :2], Y)), r"test inputs are float64 of shape \(2,\) each"),
        (lambda: NoisyLabels(X, rate=0.1), "must be data such as Arrays"),  # type: ignore[arg-type]
        (lambda: NoisyLabels(DATA, rate=1.5), "rate=1.5 must be >= 0 and <= 1"),
        (lambda: Subset(DATA, n_examples=0), "n_examples=0 must be an integer >= 1"),
        (lambda: Subset(DATA, n_examples=41).sample(RNG), "n_examples=41 must be at most the 40 examples"),
        (lambda: NoisyLabels(Arrays(X, X[:, 0]), rate=0.1).sample(RNG), "60 values are no labels"),
        (lambda: replicate(condition(Arrays(X, Y)), replicas=2), "is on test examples, and its data have none"),
    ],
)
def test_bad_data_are_one_clear_error(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((DataError, InputError), match=message):
        make()


def test_saved_arrays_are_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    held_out: dict[str, Any] = {
        "validation_inputs": X[40:50],
        "validation_targets": Y[40:50],
        "test_inputs": X[50:],
        "test_targets": Y[50:],
    }
    np.savez(path, inputs=X[:40], targets=Y[:40], **held_out)
    assert condition(SavedArrays(path)).json == condition(DATA).json
    assert str(SavedArrays(path)) == "40 fixed examples of data.npz"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (None, "No such file"),
        ({"inputs": X}, "holds inputs; it may hold inputs, targets, validation_inputs"),
        ({"inputs": X, "targets": Y, "labels": Y}, "holds inputs, labels, targets; it may"),
        ({"inputs": X, "targets": Y, "test_inputs": X}, "has no test_targets; inputs and targets go together"),
        ({"inputs": X, "targets": Y[:3]}, "60 inputs and 3 targets"),
        ({"inputs": np.array([{}, {}]), "targets": Y[:2]}, "a .npz file is needed"),
    ],
)
def test_files_that_hold_something_else_are_named(arrays: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    if arrays is not None:
        np.savez(path, **arrays)
    with pytest.raises(DataError, match=message) as error:
        SavedArrays(path)
    assert str(path) in str(error.value)


def test_test_examples_are_measured_at_the_end_and_never_learned() -> None:
    replicas = replicate(
        condition(DATA, measures={"test": Accuracy(split="test"), "loss": Loss(split="test")}), replicas=3
    )
    for row, shown in enumerate(replicas.networks):
        outputs = shown(torch.from_numpy(X[50:]).float())
        share = (outputs.argmax(1) == torch.from_numpy(Y[50:])).float().mean()
        assert replicas.trials.values["test"][row] == pytest.approx(float(share))
        loss = f.cross_entropy(outputs, torch.from_numpy(Y[50:]))
        assert replicas.trials.values["loss"][row] == pytest.approx(loss.item(), rel=1e-5)
    assert condition(DATA).json != condition(Arrays(X[:40], Y[:40], validation=(X[40:50], Y[40:50]))).json


def test_labels_are_wrong_as_often_as_said_and_each_replicas_are_its_own() -> None:
    data = NoisyLabels(Arrays(np.repeat(X, 50, 0), np.repeat(Y, 50), test=(X, Y)), rate=0.3)
    first, second = (data.sample(np.random.default_rng(seed)) for seed in (0, 1))
    wrong = first.targets != np.repeat(Y, 50)
    assert abs(wrong.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 3000)
    shift = (first.targets - np.repeat(Y, 50))[wrong] % 3
    assert abs((shift == 1).mean() - 0.5) < 4 * np.sqrt(0.25 / wrong.sum())  # either other label as often
    assert (first.targets != second.targets).any()
    assert first.targets.dtype == Y.dtype
    assert first.test is not None
    np.testing.assert_array_equal(first.test.targets, Y)
    np.testing.assert_array_equal(NoisyLabels(DATA, rate=0.0).sample(RNG).targets, Y[:40])
    assert (NoisyLabels(DATA, rate=1.0).sample(RNG).targets != Y[:40]).all()


def test_a_subset_draws_other_examples_for_each_replica() -> None:
    sets = [Subset(DATA, n_examples=30).sample(np.random.default_rng(seed)) for seed in (0, 1)]
    for chosen in sets:
        index = [int(np.flatnonzero((X[:40] == row).all(1))[0]) for row in chosen.inputs]
        assert len(set(index)) == 30
        np.testing.assert_array_equal(chosen.targets, Y[:40][index])
    assert (sets[0].inputs != sets[1].inputs).any()
    several = Subset(Arrays({"a": X, "b": X[:, :2]}, Y), n_examples=5).sample(RNG)
    np.testing.assert_array_equal(several.inputs["a"][:, :2], several.inputs["b"])


def test_variations_of_drawn_data_draw_test_examples_without_noise() -> None:
    noisy = condition(NoisyLabels(GeneratedData(draw), rate=0.5))
    values = replicate(noisy, replicas=4).trials.values["test"]
    assert len(set(values.tolist())) > 1


def test_their_numbers_are_axes_of_a_map() -> None:
    rate, n_examples = Axis("data.rate", (0.1, 0.4)), Axis("data.data.n_examples", (10, 30))
    original = condition(NoisyLabels(Subset(DATA, n_examples=20), rate=0.1))
    moved = n_examples.at(rate.at(original, 0.4), 30)
    assert moved == condition(NoisyLabels(Subset(DATA, n_examples=30), rate=0.4))
