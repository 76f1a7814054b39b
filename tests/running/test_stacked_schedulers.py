"""Schedulers that watch a metric give each replica a learning rate of its own, as in a fit of its own."""

from functools import partial
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

from lossact import LightningCondition
from lossact.errors import InputError
from lossact.replicas.torch_optimizers import ELEMENTWISE
from lossact.running.runner import train_jobs
from lossact.running.stacked_fit import fit_stacked
from lossact.training.stackable import NotStackableError
from tests.running import posted_modules as posted
from tests.running.stacked_and_alone import (
    DOUBLE,
    REPLICAS,
    assert_equal_rows,
    condition,
    members,
    recorded_alone,
    recorded_stacked,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*", "ignore:.*strict:RuntimeWarning")
BUDGET = 24


class Watching(posted.Waving):
    """Halves its rate as soon as a metric is no better than before.

    Args:
        kind: of torch's optimizers.
        config: of the scheduler, beside itself.
        numbers: of the optimizer.
    """

    def __init__(self, kind: str = "SGD", config: Any = None, **numbers: Any) -> None:
        super().__init__()
        self.kind, self.config = kind, config or {"monitor": "val_wave"}
        self.numbers = {"lr": {"SGD": 0.5, "Adadelta": 20.0, "Adam": 0.2}.get(kind, 0.1)} | numbers

    def configure_optimizers(self) -> Any:
        optimizer = getattr(torch.optim, self.kind)(self.parameters(), **self.numbers)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), **self.config}}

    def scheduler(self, optimizer: Any) -> Any:
        return ReduceLROnPlateau(optimizer, factor=0.5, patience=0)


class OfGroups(Watching):
    """Two groups with least rates of their own, watched by a scheduler that is named beside the optimizer."""

    def configure_optimizers(self) -> Any:
        groups = [{"params": [p]} if p.ndim > 1 else {"params": [p], "lr": 0.3} for p in self.parameters()]
        optimizer = torch.optim.SGD(groups, lr=0.5, momentum=0.9)
        scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, cooldown=1, min_lr=[0.1, 0.2])
        return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": "val_wave"}


class WarmedUp(Watching):
    """Two schedulers of one optimizer."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.5)
        warming = {"scheduler": LinearLR(optimizer, 0.2, total_iters=5), "interval": "step"}
        return [optimizer], [warming, {"scheduler": self.scheduler(optimizer), "monitor": "val_wave"}]


class Patient(ReduceLROnPlateau):
    """A scheduler of one's own."""

    def step(self, metrics: Any, epoch: Any = None) -> None:  # type: ignore[override]
        super().step(metrics + 0.1 * self.last_epoch)


class WithItsOwn(Watching):
    def scheduler(self, optimizer: Any) -> Any:
        return Patient(optimizer, factor=0.5, patience=0)


def watching(module: Any, **changes: Any) -> LightningCondition:
    return condition(module, budget=BUDGET, **changes)


by_step = {"interval": "step", "monitor": "train_wave"}
CONDITIONS: dict[str, LightningCondition] = {
    **{f"{kind}": watching(partial(Watching, kind)) for kind in ELEMENTWISE},
    "momentum": watching(partial(Watching, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "amsgrad": watching(partial(Watching, "Adam", amsgrad=True)),
    "every second epoch": watching(partial(Watching, config={"monitor": "val_wave", "frequency": 2})),
    "by step": watching(partial(Watching, config=by_step)),
    "every third step": watching(partial(Watching, config={**by_step, "frequency": 3})),
    "an epoch's value": watching(partial(Watching, config={"monitor": "train_wave_epoch"})),
    "not strict": watching(
        partial(Watching, config={"interval": "step", "monitor": "val_wave", "frequency": 2, "strict": False})
    ),
    "groups": watching(OfGroups),
    "two schedulers": watching(WarmedUp),
    "a scheduler of one's own": watching(WithItsOwn),
    "clipping, accumulation": watching(
        Watching, trainer={"gradient_clip_val": 0.5, "accumulate_grad_batches": 2, "val_check_interval": 2}
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_replica_has_the_rates_and_weights_of_a_fit_of_its_own(name: str) -> None:
    stacked = recorded_stacked(CONDITIONS[name])
    for rows, replica in zip(stacked, REPLICAS, strict=True):
        assert_equal_rows(rows, recorded_alone(CONDITIONS[name], replica))
    first, second = ([row["rate"] for row in rows if "rate" in row] for rows in stacked)
    assert first != second


def test_bits_do_not_depend_on_the_replicas_that_were_fitted_before() -> None:
    given = watching(partial(Watching, "Adam"))
    (alone,) = train_jobs([(given, 1)], 0, DOUBLE)
    both = list(train_jobs([(given, 0), (given, 1)], 0, DOUBLE))
    assert both[1].one_at_a_time == ""
    assert both[1].trials.run_digests is not None
    assert alone.trials.run_digests is not None
    assert both[1].trials.run_digests.tolist() == alone.trials.run_digests.tolist()


def test_a_metric_that_nobody_logs_is_an_error() -> None:
    given = watching(partial(Watching, config={"monitor": "nothing"}))
    with pytest.raises(InputError, match="ReduceLROnPlateau conditioned on metric nothing which is not available"):
        list(train_jobs([(given, 0)], 0, DOUBLE))


class ReadsItsRate(Watching):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("rate", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        return super().training_step(batch, batch_idx)


class ReadsItsMetrics(Watching):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("last", self.trainer.callback_metrics.get("val_loss", torch.tensor(0.0)))
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (ReadsItsRate, "its steps read the optimizer's numbers"),
        (ReadsItsMetrics, r"its steps read trainer\.callback_metrics"),
    ],
)
def test_what_differs_between_replicas_is_not_read_in_a_step_of_all(module: Any, reason: str) -> None:
    with pytest.raises(NotStackableError, match=reason):
        fit_stacked(members(watching(module)), 0, DOUBLE)
