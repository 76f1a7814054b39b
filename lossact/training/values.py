"""The values of trained replicas: named numbers of what networks answer, or of the networks themselves."""

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossact.checks import check_digits
from lossact.errors import InputError
from lossact.replicas.modules import copy_module
from lossact.replicas.named_tensors import map_tensors, row_of
from lossact.replicas.pairs import check_pairs
from lossact.replicas.population import Population
from lossact.replicas.random_streams import isolate_rng
from lossact.training.loaders import Examples

Values = dict[str, NDArray[np.floating[Any]]]  # by name, (replicas,) each


@dataclass(frozen=True)
class ValueFunction:
    """One measure.

    Attributes:
        function: (outputs, targets) -> a number, or one an example, to be averaged.
        split: "training", "validation" or "test"; "" for none.
        of_network: whether the function is (network) -> a number, or with a split (network, inputs, targets) -> one.
        may_draw: whether the function is a user's, which may draw random numbers.
    """

    function: Callable[..., Any]
    split: str
    of_network: bool = False
    may_draw: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class ValuePlan:
    """What is measured of trained replicas, and when.

    Attributes:
        functions: by name.
        best: name to the measure whose best value it is, and "max" or "min".
        moments: numbers of updates below the budget, ascending; measures are taken then and at the end.
        examples: (sets, n, ...) inputs and targets of each split that a measure needs.
        seeds: (replicas,) what random numbers that measures draw are seeded with, in [0, 2^63).
    """

    functions: Mapping[str, ValueFunction] = field(default_factory=dict)
    best: Mapping[str, tuple[ValueFunction, str]] = field(default_factory=dict)
    moments: Sequence[int] = ()
    examples: Mapping[str, Examples] = field(default_factory=dict)
    seeds: Sequence[int] = ()

    @property
    def names(self) -> list[str]:
        """What the values at the end are called."""
        return [*self.functions, *self.best]


class ValueRecorder:
    """Takes the values of a plan while replicas train.

    Args:
        plan: what to measure, and when.
        population: the replicas.
    """

    def __init__(self, plan: ValuePlan, population: Population) -> None:
        self.plan, self.population = plan, population
        self.values: Values = {}
        self._best: dict[str, list[NDArray[np.floating[Any]]]] = {name: [] for name in plan.best}
        self._types: dict[str, np.dtype[Any]] = {}  # of each measure's values, also where all replicas diverged

    @property
    def names(self) -> list[str]:
        """What the values are called, in the order of the plan."""
        passing = [f"{name}@{moment}" for moment in self.plan.moments for name in self.plan.functions]
        return [*passing, *self.plan.names]

    def next_moment(self, update: int) -> int | None:
        """Return the first moment at or after so many updates; None where only the end is left."""
        return next((moment for moment in self.plan.moments if moment >= update), None)

    def check(self) -> None:
        """Take every measure of the first replica, so that a measure that fails does so before training.

        Raises:
            InputError: a measure raises, or returns something else than a number.
        """
        self._types = {name: values.dtype for name, values in self._measure(slice(0, 1), checks_pairs=True).items()}

    def record(self, update: int | None) -> None:
        """Take every measure of all replicas.

        Args:
            update: the moment; None at the end.
        """
        measured = self._measure(slice(None))
        for name in self.plan.functions:
            self.values[name if update is None else f"{name}@{update}"] = measured[name]
        for name, (_, mode) in self.plan.best.items():
            self._best[name].append(measured[name])
            if update is None:
                with np.errstate(invalid="ignore"):
                    self.values[name] = (np.fmax if mode == "max" else np.fmin).reduce(self._best[name])

    def state_dict(self) -> dict[str, Any]:
        """Return what was taken so far, for a checkpoint."""
        best = {name: [torch.from_numpy(values) for values in taken] for name, taken in self._best.items()}
        return {"values": {name: torch.from_numpy(values) for name, values in self.values.items()}, "best": best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what was taken before."""
        self.values = {name: values.numpy() for name, values in state["values"].items()}
        self._best = {name: [values.numpy() for values in taken] for name, taken in state["best"].items()}

    def undefined(self, name: str) -> NDArray[np.floating[Any]]:
        """Return NaN for each replica, in the type of a measure's values."""
        measure, _, _ = name.partition("@")
        return np.full(self.population.n_replicas, np.nan, dtype=self._types.get(measure, np.dtype(np.float64)))

    def _measure(self, rows: slice, *, checks_pairs: bool = False) -> Values:
        with isolate_rng():
            return self._measure_rows(rows, checks_pairs)

    def _measure_rows(self, rows: slice, checks_pairs: bool) -> Values:
        wanted = {**self.plan.functions, **{name: function for name, (function, _) in self.plan.best.items()}}
        examples = {split: self._examples(split) for split in {value.split for value in wanted.values()} - {""}}
        answers: dict[str, Any] = {}
        measured: Values = {}
        lost = self.population.diverged.cpu().tolist()
        chosen = range(self.population.n_replicas)[rows]
        for name, value in wanted.items():
            data: Any = examples.get(value.split, ())
            if not value.of_network:
                if value.split not in answers:  # on the CPU, where numpy and torchmetrics can read them
                    answers[value.split] = map_tensors(Tensor.cpu, (self.population.outputs(data[0]), data[1]))
                data = answers[value.split]
            numbers = [np.float64("nan") if lost[row] else self._number(name, value, row, data) for row in chosen]
            if checks_pairs and value.split and not value.of_network:
                check_pairs(f"measure {name!r}", _own(value), *row_of(data, 0))
            kinds = {number.dtype for row, number in zip(chosen, numbers, strict=True) if not lost[row]}
            measured[name] = np.array(
                numbers, dtype=np.result_type(*kinds) if kinds else self._types.get(name, np.dtype(np.float64))
            )
        return measured

    def _examples(self, split: str) -> Examples:
        inputs, targets = map_tensors(self._on_device, self.plan.examples[split])
        return inputs, targets

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.population.diverged.device)

    def _number(self, name: str, value: ValueFunction, row: int, data: Any) -> np.floating[Any]:
        """Return one replica's value, of outputs or inputs and of targets; of neither without a split."""
        function = _own(value)
        if value.may_draw:
            _seed(self.plan.seeds[row])
        try:
            own = map_tensors(torch.clone, row_of(data, row))  # what a measure writes into them reaches no other
            if value.of_network:
                network = self.population.network_of(row)
                # A copy, so that the hooks and gradients which a function leaves in it reach no other replica.
                own = copy_module(network) if value.split else network, *own
            with torch.set_grad_enabled(value.of_network and value.split != ""):
                result = function(*own)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"measure {name!r} failed with {type(error).__name__}: {error}; mend it") from error
        return _as_number(name, result, n_examples=0 if value.of_network else data[1].shape[1])


def _seed(seed: int) -> None:
    """Seed what a measure may draw from. torch.manual_seed would format a stack for each device that is not in use."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def _own(value: ValueFunction) -> Callable[..., Any]:
    """Return a measure's function, or where it keeps state a copy that was not called yet."""
    return copy.deepcopy(value.function) if _keeps_state(value.function) else value.function


def _keeps_state(function: Any) -> bool:
    """Return whether a function is an object that accumulates from call to call, as torchmetrics' are."""
    return callable(getattr(function, "reset", None)) and callable(getattr(function, "update", None))


def _as_number(name: str, result: Any, *, n_examples: int) -> np.floating[Any]:
    if isinstance(result, Tensor):
        result = result.detach().cpu()
        if not result.ndim:
            check_digits(f"measure {name!r} returned a number", result)
        if result.dtype in {torch.float16, torch.bfloat16}:
            result = result.float()
        result = result.numpy()
    array = np.asarray(result)
    if array.dtype.kind not in "buif" or array.shape not in {(), (n_examples or None,)}:
        described = f"shape {array.shape}" if array.dtype.kind in "buif" else f"{result!r}"
        rule = "one number, or one an example" if n_examples else "one number"
        raise InputError(f"measure {name!r} returned {described}; it must return {rule}")
    numbers = array if array.dtype.kind == "f" else array.astype(np.float64)
    number: np.floating[Any] = numbers.dtype.type(numbers.mean())
    return number
