"""torchmetrics objects of a LightningModule whose steps run for all replicas at once.

Most metrics cannot run within torch.func.vmap. While a step runs, what stands in their place notes the arguments of
each call; afterwards each replica's own metric is called with its part of them.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torchmetrics import Metric

from lossact.training.stackable import NotStackableError


class MetricValue:
    """What calling a metric would return, which is known once the step has run.

    Attributes:
        call: the call's index in its step.
    """

    def __init__(self, call: int) -> None:
        self.call = call


class MetricCalls:
    """The calls of metrics in one step.

    Attributes:
        latest: the calls of the latest step, in order: the metric's path, whether the call returns a value, and its
            arguments.
    """

    def __init__(self) -> None:
        self.latest: list[tuple[str, bool, Any]] = []

    def begin(self) -> None:
        """Forget the calls of the step before."""
        self.latest = []

    def record(self, path: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, returns: bool) -> int:
        """Note a call, and return its index."""
        self.latest.append((path, returns, (args, kwargs)))
        return len(self.latest) - 1

    def tensors(self) -> list[Tensor]:
        """Return all tensors among the arguments, in order; within vmap those of one replica."""
        return [leaf.detach() for _, _, given in self.latest for leaf in _leaves(given) if isinstance(leaf, Tensor)]

    def of_replica(self, tensors: Sequence[Tensor], row: int) -> list[tuple[str, bool, Any]]:
        """Return the calls with one replica's arguments.

        Args:
            tensors: those of `tensors`, (replicas, ...) each.
            row: the replica's.
        """
        rows = iter([tensor[row] for tensor in tensors])
        calls = []
        for path, returns, given in self.latest:
            leaves, structure = pytree.tree_flatten(given)
            leaves = [next(rows) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            calls.append((path, returns, pytree.tree_unflatten(leaves, structure)))
        return calls

    def __len__(self) -> int:
        return len(self.latest)


class MetricStandIn(nn.Module):
    """Stands where a metric stood.

    Args:
        path: the metric's, in its module.
        calls: where its calls are noted.
    """

    def __init__(self, path: str, calls: MetricCalls) -> None:
        super().__init__()
        self.path, self._calls = path, calls

    def forward(self, *args: Any, **kwargs: Any) -> MetricValue:
        return MetricValue(self._calls.record(self.path, args, kwargs, returns=True))

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Note the call."""
        self._calls.record(self.path, args, kwargs, returns=False)

    def compute(self) -> NoReturn:
        """Refuse: what it would return is not known within a step."""
        raise NotStackableError(f"its steps compute or reset self.{self.path}")

    reset = compute


class ReplicaMetrics:
    """Each replica's own metrics.

    Args:
        metrics: path in the module to the metric, as it is before anything was updated.
        n_replicas: how many.
    """

    def __init__(self, metrics: Mapping[str, Metric], n_replicas: int) -> None:
        self.metrics = {path: [copy.deepcopy(metric) for _ in range(n_replicas)] for path, metric in metrics.items()}

    def call(
        self, calls: MetricCalls, tensors: Sequence[Tensor], *, logged: Collection[int], on_step: Collection[str]
    ) -> dict[int, Tensor]:
        """Call every replica's metrics with its arguments; where nobody looks at a call's value, it is an update.

        Args:
            calls: of the step.
            tensors: among their arguments, (replicas, ...) each.
            logged: the calls whose values are logged.
            on_step: paths of the metrics that are logged for each step.

        Returns:
            the values (replicas,) of the calls that are looked at.
        """
        values: dict[int, list[Tensor]] = {}
        n_replicas = len(next(iter(self.metrics.values()), []))
        for row in range(n_replicas if len(calls) else 0):
            for index, (path, returns, (args, kwargs)) in enumerate(calls.of_replica(tensors, row)):
                metric = self._placed(path, row, tensors)
                if returns and (index in logged or path in on_step):
                    values.setdefault(index, []).append(_number(path, metric(*args, **kwargs)))
                else:
                    metric.update(*args, **kwargs)
        return {index: torch.stack(of_call) for index, of_call in values.items()}

    def _placed(self, path: str, row: int, tensors: Sequence[Tensor]) -> Metric:
        metric = self.metrics[path][row]
        if tensors and metric.device != tensors[0].device:
            self.metrics[path][row] = metric = metric.to(tensors[0].device)
        return metric

    def latest(self, path: str) -> Tensor:
        """Return the values (replicas,) of a metric's latest call."""
        cached = [metric._forward_cache for metric in self.metrics[path]]
        if any(value is None for value in cached):
            raise NotStackableError(f"it logs self.{path} for each step without calling it")
        return torch.stack([_number(path, value) for value in cached])

    def computed(self, path: str) -> Tensor:
        """Return the values (replicas,) of a metric over all that it was called with since it was reset."""
        return torch.stack([_number(path, metric.compute()) for metric in self.metrics[path]])

    def reset(self, path: str) -> None:
        """Begin anew."""
        for metric in self.metrics[path]:
            metric.reset()


def replace_metrics(module: nn.Module, calls: MetricCalls) -> dict[str, Metric]:
    """Put stand-ins where a module has metrics, in place.

    Returns:
        path to the metric.
    """
    replaced: dict[str, Metric] = {}
    for path, part in list(module.named_modules()):
        if isinstance(part, Metric) and not any(path.startswith(f"{outer}.") for outer in replaced):
            replaced[path] = part
            parent, _, name = path.rpartition(".")
            module.get_submodule(parent).register_module(name, MetricStandIn(path, calls))
    return replaced


def _number(path: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise NotStackableError(f"self.{path} gives no single number")
    return value.detach().reshape(())


def _leaves(given: Any) -> list[Any]:
    leaves: list[Any] = pytree.tree_leaves(given)
    return leaves
