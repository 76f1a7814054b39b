"""What a LightningModule logs for each replica, with the meaning that Lightning gives to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.data import extract_batch_size
from torch import Tensor

from lossact.training.stackable import NotStackableError
from lossact.training.stacked_metrics import MetricStandIn, MetricValue, ReplicaMetrics

REDUCTIONS: dict[Any, str] = {
    "mean": "mean", "sum": "sum", "max": "max", "min": "min",
    torch.mean: "mean", torch.sum: "sum", torch.max: "max", torch.min: "min", max: "max", min: "min", sum: "sum",
}  # fmt: skip
Reduction = Callable[[Tensor, Tensor], Tensor]
EXTREMES: dict[str, Reduction] = {"max": torch.maximum, "min": torch.minimum}


@dataclass(frozen=True)
class LogOptions:
    """How one name is logged.

    Attributes:
        on_step: whether each batch's value counts.
        on_epoch: whether the values of an epoch are reduced to one.
        reduction: "mean" (weighted by the batch's size), "sum", "max" or "min".
        batch_size: examples in the batch.
        loader: of validation, where there are several: what names end in by default.
    """

    on_step: bool
    on_epoch: bool
    reduction: str
    batch_size: int
    loader: str = ""


class StepLog:
    """Stands in for a LightningModule's `log` while one step runs, perhaps for all replicas at once.

    Args:
        batch: of the step, one replica's.
        in_training: whether the step is a training_step.
        suffix: what names end in where validation has several loaders, such as "/dataloader_idx_1".

    Attributes:
        values: by name, a () tensor each, of one replica within vmap.
        options: by name.
        metrics: name to the path of the metric that is logged under it.
        metric_values: name to the index of the metric's call whose value is logged under it.
    """

    def __init__(self, batch: Any, *, in_training: bool, suffix: str = "") -> None:
        self.batch, self.in_training, self.suffix = batch, in_training, suffix
        self.values: dict[str, Tensor] = {}
        self.options: dict[str, LogOptions] = {}
        self.metrics: dict[str, str] = {}
        self.metric_values: dict[str, int] = {}

    def log(
        self,
        name: str,
        value: Any,
        prog_bar: bool = False,
        logger: bool | None = None,
        on_step: bool | None = None,
        on_epoch: bool | None = None,
        reduce_fx: Any = "mean",
        enable_graph: bool = False,
        sync_dist: bool = False,
        sync_dist_group: Any = None,
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        metric_attribute: str | None = None,
        rank_zero_only: bool = False,
    ) -> None:
        """Take a value, as LightningModule.log does.

        Raises:
            NotStackableError: it is no number, or is not logged in a way that replicas can log.
        """
        name = f"{name}{self.suffix}" if add_dataloader_idx else name
        if isinstance(value, Number):
            value = torch.tensor(value, dtype=torch.get_default_dtype())
        of_metric = isinstance(value, (MetricStandIn, MetricValue))
        if not of_metric and (not isinstance(value, Tensor) or value.numel() != 1):
            raise NotStackableError(f"it logs {name!r} as a {type(value).__name__}, not as one number")
        if name in self.options:
            raise NotStackableError(f"it logs {name!r} twice in a step")
        if reduce_fx not in REDUCTIONS:
            raise NotStackableError(f"it logs {name!r} with a reduction of its own")
        on_step = self.in_training if on_step is None else on_step
        on_epoch = not self.in_training if on_epoch is None else on_epoch
        if on_step and not self.in_training:
            raise NotStackableError(f"it logs {name!r} for each step of validation")
        if isinstance(value, MetricStandIn):
            self.metrics[name] = value.path
        elif isinstance(value, MetricValue):
            self.metric_values[name] = value.call
        else:
            self.values[name] = _as_floating(value.detach().reshape(()))
        size = extract_batch_size(self.batch) if batch_size is None and on_epoch else batch_size or 1
        self.options[name] = LogOptions(on_step, on_epoch, REDUCTIONS[reduce_fx], size, self.suffix)

    def log_dict(self, dictionary: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        """Take several values, as LightningModule.log_dict does."""
        for name, value in dictionary.items():
            self.log(name, value, *args, **kwargs)


def log_there(module: LightningModule, log: StepLog) -> None:
    """Have a module log there."""
    module.log, module.log_dict = log.log, log.log_dict  # type: ignore[method-assign, assignment]


def _as_floating(value: Tensor) -> Tensor:
    return value if value.dtype in (torch.float32, torch.float64) else value.to(torch.get_default_dtype())


@dataclass(frozen=True, eq=False)
class LoggedStep:
    """What one step of all replicas logged.

    Attributes:
        values: by name, (replicas,) each.
        options: by name, those of metrics too.
        metrics: name to the path of the metric that is logged under it.
    """

    values: Mapping[str, Tensor]
    options: Mapping[str, LogOptions]
    metrics: Mapping[str, str]


class EpochLog:
    """Every replica's values of an epoch.

    Args:
        metrics: each replica's torchmetrics objects.

    Attributes:
        names: all that were logged since the fit began.
    """

    def __init__(self, metrics: ReplicaMetrics) -> None:
        self.names: set[str] = set()
        self.metrics = metrics
        self._paths: dict[str, str] = {}
        self._known_paths: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Begin an epoch."""
        for path in self._known_paths:  # also those that the latest epoch did not log
            self.metrics.reset(path)
        self._paths = {}
        self._totals: dict[str, Tensor] = {}
        self._weights: dict[str, int] = {}
        self._options: dict[str, LogOptions] = {}

    def add(self, step: LoggedStep) -> None:
        """Take what a step logged."""
        options = step.options
        self.names |= options.keys()
        for name, option in options.items():
            if self._options.get(name, option).loader != option.loader:
                raise NotStackableError(f"it logs {name!r} for several validation loaders")
        for name, path in step.metrics.items():
            self._known_paths.add(path)
            self._paths[name] = path
            self._options[name] = options[name]
        for name, value in step.values.items():
            option = self._options.setdefault(name, options[name])
            if not option.on_epoch:
                continue
            weight = options[name].batch_size if option.reduction == "mean" else 1
            if name not in self._totals:  # summed in no less than the precision of the Trainer, as Lightning does
                wide = torch.promote_types(value.dtype, torch.get_default_dtype())
                self._totals[name], self._weights[name] = (value * weight).to(wide), weight
            elif option.reduction in EXTREMES:
                self._totals[name] = EXTREMES[option.reduction](self._totals[name], value)
            else:
                self._totals[name] = self._totals[name] + value * weight
                self._weights[name] += weight

    def reduced(self) -> dict[str, Tensor]:
        """Return the epoch's values by the names that callbacks see, (replicas,) each."""
        values = {}
        for name, path in self._paths.items():
            if self._options[name].on_epoch:
                values[name] = _as_floating(self.metrics.computed(path))
                if self._options[name].on_step:
                    values[f"{name}_epoch"] = values[name]
        for name, total in self._totals.items():
            option = self._options[name]
            value = total / self._weights[name] if option.reduction == "mean" else total
            values[name] = value
            if option.on_step:
                values[f"{name}_epoch"] = value
        return values


def step_values(step: LoggedStep, metrics: ReplicaMetrics) -> dict[str, Tensor]:
    """Return one step's values by the names that callbacks see, (replicas,) each."""
    shown, options = {}, step.options
    on_step = {name: path for name, path in step.metrics.items() if options[name].on_step}
    latest = {name: _as_floating(metrics.latest(path)) for name, path in on_step.items()}
    for name, value in {**step.values, **latest}.items():
        if options[name].on_step:
            shown[name] = value
            if options[name].on_epoch:
                shown[f"{name}_step"] = value
    return shown
