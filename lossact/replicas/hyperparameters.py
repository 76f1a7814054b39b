"""Hyperparameters of stacked replicas: each has its own value, which may change with the update."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Hyperparameter:
    """One hyperparameter of R replicas.

    Attributes:
        table: (1, replicas) values that stay, or (updates, columns) values at each update.
        columns: (replicas,) int64, each replica's column; None where each has its own.
    """

    table: Tensor
    columns: Tensor | None = None

    @classmethod
    def of(cls, values: Sequence[Sequence[float]], dtype: torch.dtype) -> "Hyperparameter":
        """Take each replica's values: one that stays, or one an update; equal ones share a column."""
        if all(len(each) == 1 for each in values):
            return cls(torch.tensor([[each[0] for each in values]], dtype=dtype))
        updates = max(len(each) for each in values)
        distinct: dict[tuple[float, ...], int] = {}
        columns = [distinct.setdefault(tuple(each), len(distinct)) for each in values]
        rows = [list(each) if len(each) == updates else [*each] * updates for each in distinct]
        return cls(torch.tensor(rows, dtype=dtype).T.contiguous(), torch.tensor(columns))

    @property
    def is_scheduled(self) -> bool:
        """Whether it changes with the update."""
        return len(self.table) > 1

    def to(self, device: torch.device) -> "Hyperparameter":
        """Return it on a device."""
        return Hyperparameter(self.table.to(device), None if self.columns is None else self.columns.to(device))

    def at(self, update: int | Tensor) -> Tensor:
        """Return (replicas,) values at an update, an index or a () int64 tensor; the first is 0."""
        if not self.is_scheduled:
            row = self.table[0]
        elif isinstance(update, Tensor):
            row = self.table.index_select(0, update.reshape(1)).squeeze(0)
        else:
            row = self.table[update]
        return row if self.columns is None else row[self.columns]

    def over(self, first: int, n_updates: int) -> Tensor:
        """Return (n_updates, replicas) values at consecutive updates; (1, replicas) where they stay."""
        rows = self.table[first : first + n_updates] if self.is_scheduled else self.table
        return rows if self.columns is None else rows[:, self.columns]
