"""What configure_optimizers sets up beside an optimizer and schedulers: kept, or a reason not to stack."""

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

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

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")


class Configured(posted.Classifier):
    """SGD, and what a function does with it and the module."""

    def __init__(self, more: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.more, self.warmup = more, 3
        self.register_buffer("average", torch.ones(()))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.3)
        scheduler = self.more(self, optimizer)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def by(rate: Callable[[Any, int], float]) -> Callable[[Any, Any], Any]:
    return lambda module, optimizer: LambdaLR(optimizer, lambda step: rate(module, step))


def hook_on_gradients(module: Any, _: Any) -> None:
    for parameter in module.parameters():
        parameter.register_hook(lambda gradient: gradient.clamp(-0.001, 0.001))


def decaying(module: Any, optimizer: Any) -> None:
    plain = optimizer.step

    @functools.wraps(plain)
    def step(closure: Any = None) -> Any:
        returned = plain(closure)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(0.5)
        return returned

    optimizer.step = step


def decaying_above_a_scheduler(module: Any, optimizer: Any) -> Any:
    scheduler = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    decaying(module, optimizer)
    return scheduler


def norm_of(parameters: Any) -> float:
    return float(sum(parameter.norm() for parameter in parameters))


READS = "its scheduler reads parameters or buffers"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (hook_on_gradients, "configure_optimizers puts hooks on gradients"),
        (decaying, "its optimizer has a step of its own"),
        (decaying_above_a_scheduler, "its optimizer has a step of its own"),
        (by(lambda module, step: float(module.average)), READS),
        (by(lambda module, step: 1 / (1 + norm_of(module.parameters()))), READS),
        (by(lambda module, step: 1 / (1 + float(module.network.weight.norm()))), READS),
        (by(lambda module, step: 1 / (1 + norm_of(module.state_dict().values()))), READS),
        (by(lambda module, step: random.random() if step else 1.0), "its scheduler draws random numbers"),
    ],
)
def test_what_replicas_would_share_is_a_reason(more: Callable[[Any, Any], Any], reason: str) -> None:
    with pytest.raises(NotStackableError, match=reason):
        fit_stacked(members(condition(lambda: Configured(more))), 0, DOUBLE)


def warming_up(module: Any, step: int) -> float:
    return min(1.0, (step + 1) / int(module.warmup))


def test_schedulers_that_read_numbers_of_the_module_are_stacked() -> None:
    given = condition(lambda: Configured(by(warming_up)))
    for rows, replica in zip(recorded_stacked(given), REPLICAS, strict=True):
        assert_equal_rows(rows, recorded_alone(given, replica))


def test_tensors_can_be_read_again_afterwards() -> None:
    from lossact.training.stackable import reading_no_tensors

    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    before: dict[str, Tensor] = dict(module.named_parameters())
    with pytest.raises(NotStackableError, match="no"), reading_no_tensors([module], "no"):
        _ = module[0].weight
    assert all(found is before[name] for name, found in module.named_parameters())
    with reading_no_tensors([module], "no"):
        assert module[0].in_features == 2
