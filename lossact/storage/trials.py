"""The outcomes of replicas."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOT_COUNTED = -1  # in place of steps, where training did not count updates to a target
FEWEST_EQUAL_RUNS = 8  # so many replicas that computed the same are one run
FEWEST_COPIES = 4  # so many replicas that repeat others are no chance


@dataclass(frozen=True)
class Trial:
    """The outcome of one replica of one condition.

    Attributes:
        replica: its index.
        steps_to_target: updates that had been applied when it met the target, None where it did not.
        diverged: whether a loss or a weight stopped being finite.
    """

    replica: int
    steps_to_target: int | None
    diverged: bool

    @property
    def reached(self) -> bool:
        return self.steps_to_target is not None


@dataclass(frozen=True, eq=False)
class Trials:
    """The trials of one condition by replica index, as arrays.

    Attributes:
        steps: (replicas,) int64 updates, 0 … budget; where not reached 0, or NOT_COUNTED.
        reached: (replicas,) bool; False is censored, diverged ones included.
        diverged: (replicas,) bool.
        budget: updates at most.
        run_digests: (replicas,) int64, of all that a replica computed; 0 where that says nothing, odd where no other
            run can have it by chance.
        values: name to (replicas,) measured values, in the type in which they were computed; NaN where undefined.
    """

    steps: NDArray[np.int64]
    reached: NDArray[np.bool_]
    diverged: NDArray[np.bool_]
    budget: int
    run_digests: NDArray[np.int64] = field(kw_only=True, default_factory=lambda: np.zeros(0, np.int64))
    values: Mapping[str, NDArray[np.floating[Any]]] = field(kw_only=True, default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.run_digests):
            object.__setattr__(self, "run_digests", np.zeros(len(self.steps), np.int64))

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Trial]:
        for replica in range(len(self)):
            steps = int(self.steps[replica]) if self.reached[replica] else None
            yield Trial(replica, steps, bool(self.diverged[replica]))

    def read_only(self) -> "Trials":
        """Return the same trials, whose arrays raise ValueError where somebody writes into them."""
        arrays: dict[str, Any] = {
            name: _read_only(getattr(self, name)) for name in ("steps", "reached", "diverged", "run_digests")
        }
        return replace(self, **arrays, values={name: _read_only(values) for name, values in self.values.items()})

    @property
    def are_counted(self) -> bool:
        """Whether every replica counted its updates to a target."""
        return not (self.steps == NOT_COUNTED).any()

    def first(self, n: int) -> "Trials":
        """Return the trials of replicas 0 … n - 1.

        Args:
            n: how many.

        Returns:
            those trials.
        """
        return self.at(slice(n))

    def at(self, replicas: slice | NDArray[np.intp]) -> "Trials":
        """Return the trials of some replicas.

        Args:
            replicas: their indices, or a slice of them.

        Returns:
            those trials, in the order of the indices.
        """
        return Trials(
            self.steps[replicas],
            self.reached[replicas],
            self.diverged[replicas],
            self.budget,
            run_digests=self.run_digests[replicas],
            values={name: values[replicas] for name, values in self.values.items()},
        )

    @property
    def are_one_run(self) -> bool:
        """Whether the first 8 replicas computed exactly the same, so that training cannot have used their seeds."""
        if len(self) < FEWEST_EQUAL_RUNS or not self.run_digests[0]:
            return False
        return len({self._identity(replica) for replica in range(FEWEST_EQUAL_RUNS)}) == 1

    @property
    def n_copies(self) -> int:
        """How many replicas computed exactly what an earlier one did; only digests that are unique (odd) count.

        Where one digest stands beside several outcomes it is not that of the run, and nothing is a copy.
        """
        unique = np.flatnonzero(self.run_digests & 1)
        runs = {self._identity(int(replica)) for replica in unique}
        if len(runs) > len(np.unique(self.run_digests[unique])):
            return 0
        return len(unique) - len(runs)

    def _identity(self, replica: int) -> tuple[object, ...]:
        """Return what is equal in replicas that are one run."""
        values = (float(column[replica]).hex() for column in self.values.values())
        return int(self.run_digests[replica]), int(self.steps[replica]), bool(self.reached[replica]), *values

    @property
    def restricted_steps(self) -> NDArray[np.int64]:
        """(replicas,) min(T, budget): the updates a replica used."""
        return np.where(self.reached, self.steps, self.budget)

    @property
    def median_steps(self) -> float | None:
        """Median of T over all replicas, None where fewer than half reached the target."""
        beyond: NDArray[Any] = np.sort(np.where(self.reached, self.steps.astype(float), np.inf))
        if 2 * self.reached.sum() < len(self) or not len(self):
            return None
        median = float((beyond[(len(self) - 1) // 2] + beyond[len(self) // 2]) / 2)
        return median if np.isfinite(median) else None


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Curves:
    """Learning curves of the first replicas of one condition.

    Attributes:
        loss, metric: (replicas, budget + 1) float32, before each update and once after the last.
        gradient_norm: (replicas, moments, layers) float32, norm of the loss's gradient by layer; without moments where
            it was not looked at.
        layers: their names.
        gradient_every: updates between two moments, the first before any update.
    """

    loss: NDArray[np.float32]
    metric: NDArray[np.float32]
    gradient_norm: NDArray[np.float32]
    layers: tuple[str, ...] = ()
    gradient_every: int = 1

    @classmethod
    def empty(cls, budget: int) -> "Curves":
        none = np.zeros((0, budget + 1), np.float32)
        return cls(none, none, np.zeros((0, 0, 0), np.float32))

    @classmethod
    def joined(cls, parts: "Sequence[Curves]") -> "Curves":
        """Concatenate the curves of one condition's blocks, in order.

        Args:
            parts: curves of each block, at least one.

        Returns:
            the curves of all.
        """
        return cls(
            np.concatenate([part.loss for part in parts]),
            np.concatenate([part.metric for part in parts]),
            np.concatenate([part.gradient_norm for part in parts]),
            parts[0].layers,
            parts[0].gradient_every,
        )

    def __len__(self) -> int:
        return len(self.loss)

    def first(self, n: int) -> "Curves":
        """Return the stored curves of replicas 0 … n - 1.

        Args:
            n: how many.

        Returns:
            those curves.
        """
        return replace(self, loss=self.loss[:n], metric=self.metric[:n], gradient_norm=self.gradient_norm[:n])
