"""One training_step is one update, however many optimizer steps it takes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.running.plain_fits import Regression, fit_alone, train, whole

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")


class WithLBFGS(Regression):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=1, max_iter=20, line_search_fn="strong_wolfe")


def first_loss() -> float:
    losses: list[float] = []

    class Noting(Regression):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            losses.append(float(loss.detach()))
            return loss

    fit_alone(lambda: Noting([]), whole, max_steps=1)
    return losses[0]


class Returned(WithLBFGS):
    """Logs nothing."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.mse_loss(self.line(batch[0]), batch[1])


class ErrorByTorchmetrics(WithLBFGS):
    def __init__(self, rates: list[float]) -> None:
        from torchmetrics import MeanSquaredError

        super().__init__(rates)
        self.error = MeanSquaredError()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        outputs = self.line(batch[0])
        self.error(outputs, batch[1])
        self.log("train_loss", self.error, on_step=True, on_epoch=False)
        return nn.functional.mse_loss(outputs, batch[1])


@pytest.mark.parametrize(
    ("kind", "metric"), [(WithLBFGS, "train_loss"), (Returned, "loss"), (ErrorByTorchmetrics, "train_loss")]
)
def test_lbfgs_meets_its_target_after_its_first_update_not_before(kind: type[Regression], metric: str) -> None:
    start = first_loss()
    assert start > 0.05
    outcome = train(lambda: kind([]), data=whole, metric=metric, at_most=0.01)
    assert outcome.steps == 1
    assert train(lambda: kind([]), data=whole, metric=metric, at_most=start * 1.01).steps == 0


class Manual(Regression):
    """Gradient descent by hand, its parameters split over some optimizers, each of which takes some steps."""

    def __init__(self, optimizers: int, repeats: int = 1) -> None:
        super().__init__([])
        self.automatic_optimization = False
        self.n_optimizers, self.repeats = optimizers, repeats

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        loss = nn.functional.mse_loss(self.line(batch[0]), batch[1])
        self.log("train_loss", loss)
        optimizers: Any = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for _ in range(self.repeats):
            for optimizer in optimizers:
                optimizer.step()

    def configure_optimizers(self) -> Any:
        parameters = list(self.line.parameters())
        parts = [parameters] if self.n_optimizers == 1 else [[parameter] for parameter in parameters]
        return [torch.optim.SGD(part, lr=0.5 / self.repeats) for part in parts]


def test_one_descent_takes_as_many_updates_however_many_optimizers_share_it() -> None:
    automatic = train(lambda: Regression([]), at_most=0.02)
    assert automatic.steps is not None
    assert automatic.steps > 3
    steps = {
        (optimizers, repeats): train(lambda o=optimizers, r=repeats: Manual(o, r), at_most=0.02).steps  # type: ignore[misc]
        for optimizers in (1, 2)
        for repeats in (1, 2)
    }
    assert set(steps.values()) == {automatic.steps}


class Twice(torch.optim.SGD):
    """Two steps on one batch, the loss computed before each, as in sharpness-aware minimization."""

    def step(self, closure: Any = None) -> Any:
        loss = closure()
        super().step()
        closure()
        super().step()
        return loss


class StepsTwice(Regression):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.rates[-1] = float(loss.detach())
        return loss

    def configure_optimizers(self) -> Any:
        return Twice(self.parameters(), lr=0.2)


def test_the_first_of_several_losses_on_a_batch_is_the_one_before_its_update() -> None:
    losses: list[float] = []
    outcome = train(lambda: StepsTwice(losses), at_most=0.05)
    assert outcome.steps == next(k for k, loss in enumerate(losses[::2]) if loss <= 0.05)
    assert outcome.steps > 0


@pytest.mark.parametrize("optimizers", [1, 2])
def test_a_budget_holds_as_many_updates_however_many_optimizers_share_it(optimizers: int) -> None:
    reached = train(lambda: Manual(optimizers), at_most=0.02).steps
    assert reached is not None
    assert train(lambda: Manual(optimizers), at_most=0.02, budget=reached + 1).steps == reached
    assert train(lambda: Manual(optimizers), at_most=0.02, budget=reached - 1).steps is None
