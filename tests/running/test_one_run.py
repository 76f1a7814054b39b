"""Replicas that are one run are an error; replicas that only look alike are not."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lossact import (
    Adam,
    Arrays,
    Condition,
    Experiment,
    FunctionCondition,
    GeneratedData,
    LightningCondition,
    Loss,
    evaluate,
    faster,
)
from lossact.errors import ClaimError, InputError, LossactError
from lossact.executors.local import LocalExecutor
from lossact.running.function_call import reads_seed
from lossact.running.run_digest import NO_EVIDENCE, curve_digests
from lossact.storage import FEWEST_EQUAL_RUNS

ONE_RUN = r"the first 8 replicas computed exactly the same, so they are one run that ignores its seed"
REPLICAS = 16


def decide(experiment: Experiment, condition: Any, other: Any) -> Any:
    if condition.name == other.name:
        other = replace(other, name="other")
    return evaluate(faster(condition, than=other), max_replicas=REPLICAS, experiment=experiment)


# Functions


def shrink(weights: Tensor, factor: float = 0.9) -> int | None:
    """How many steps bring a vector's norm below 0.1."""
    for step in range(60):
        if weights.norm() < 0.1:
            return step
        weights = factor * weights
    return None


def honest(seed: int) -> int | None:
    return shrink(torch.randn(3))


def constant_torch_seed(seed: int) -> int | None:
    torch.manual_seed(42)
    return shrink(torch.randn(3))


def constant_seed_of_everything(seed: int) -> int | None:
    seed_everything(42, verbose=False)
    return shrink(torch.randn(3))


def constant_numpy_generator(seed: int) -> int | None:
    return shrink(torch.tensor(np.random.default_rng(0).normal(size=3)))


def seed_read_and_lost(seed: int) -> int | None:
    name = f"run {seed}"
    torch.manual_seed(42)
    return shrink(torch.randn(3)) if name else None


def curve_of_one_run(seed: int) -> Tensor:
    torch.manual_seed(seed and 42)
    return torch.randn(61).abs().cumsum(0)


def never_arrives_and_ignores_its_seed(seed: int) -> None:
    torch.manual_seed(42)
    torch.randn(3)


def constant_python_seed(seed: int) -> int:
    random.seed(1)
    return random.randrange(1, 60)


@pytest.mark.parametrize(
    ("train", "target"),
    [
        (constant_torch_seed, {}),
        (constant_seed_of_everything, {}),
        (constant_numpy_generator, {}),
        (constant_python_seed, {}),
        (seed_read_and_lost, {}),
        (curve_of_one_run, {"at_least": 20.0}),
        (curve_of_one_run, {"at_least": 1e9}),
        (never_arrives_and_ignores_its_seed, {}),
    ],
)
def test_a_function_that_ignores_its_seed_is_an_error(
    experiment: Experiment, train: Any, target: dict[str, float]
) -> None:
    one_run = FunctionCondition(train=train, budget=60, **target)  # type: ignore[arg-type]
    other = FunctionCondition(train=honest, budget=60)
    for pair in ((one_run, other), (other, one_run)):
        with pytest.raises(ClaimError, match=f"^{train.__name__}: {ONE_RUN}; .*equal_steps=True"):
            decide(experiment, *pair)
    allowed = FunctionCondition(train=train, budget=60, equal_steps=True, **target)  # type: ignore[arg-type]
    verdict = decide(experiment, allowed, other)
    assert verdict.name != "inconclusive"
    assert experiment.trained_replicas == 2 * verdict.decision.replicas  # equal_steps changes no outcome, and no key
    assert allowed == one_run


FIVE_SEEDS = [3, 1, 4, 15, 9]


def one_of_five(seed: int) -> int | None:
    torch.manual_seed(FIVE_SEEDS[seed % 5])
    return shrink(torch.randn(3))


def curve_of_one_of_five(seed: int) -> Any:
    return np.random.default_rng(FIVE_SEEDS[seed % 5]).normal(size=61).cumsum()


@pytest.mark.parametrize(("train", "target"), [(one_of_five, {}), (curve_of_one_of_five, {"at_least": 20.0})])
def test_replicas_that_are_copies_of_five_runs_are_an_error(
    experiment: Experiment, train: Any, target: dict[str, float]
) -> None:
    copies = FunctionCondition(train=train, budget=60, **target)  # type: ignore[arg-type]
    other = FunctionCondition(train=honest, budget=60)
    with pytest.raises(ClaimError, match=r"^\w+: \d+ of \d+ replicas computed exactly what another one did, so they"):
        evaluate(faster(copies, than=other), max_replicas=64, experiment=experiment)
    allowed = FunctionCondition(train=train, budget=60, equal_steps=True, **target)  # type: ignore[arg-type]
    assert evaluate(faster(allowed, than=other), max_replicas=64, experiment=experiment).decision.replicas >= 8


def fixed_split_then_seed(seed: int) -> int:
    """The data are split alike in every replica, or in one of five ways; training draws from its own generator."""
    torch.manual_seed(seed % 5)
    torch.randperm(10)
    return int(np.random.default_rng(seed).integers(50, 60))


def never_arrives(seed: int) -> None:
    np.random.default_rng(seed).normal()


def never_arrives_and_draws(seed: int) -> None:
    torch.randn(3)


def checks_every_30_updates(seed: int) -> int:
    return 30 + 0 * torch.randint(0, 2, ()).item().__int__()


def flat_curve(seed: int) -> Any:
    """A network that learns nothing predicts one class under every seed."""
    return np.full(61, 0.5) + 0 * seed


def coarse_curve(seed: int) -> list[float]:
    """Accuracy on few examples, of runs that differ."""
    return [0.5, 1.0 + 0 * float(torch.rand(()))]


def unlike_curves(seed: int) -> Any:
    """They arrive at the same update."""
    return np.where(np.arange(61) < 30, np.random.default_rng(seed).uniform(0, 0.5, 61), 1.0)


@pytest.mark.parametrize(
    ("train", "target"),
    [
        (fixed_split_then_seed, {}),
        (never_arrives, {}),
        (never_arrives_and_draws, {}),
        (checks_every_30_updates, {}),
        (flat_curve, {"at_least": 0.9}),
        (coarse_curve, {"at_least": 0.9}),
        (unlike_curves, {"at_least": 0.9}),
    ],
)
def test_replicas_that_only_look_alike_are_decided(
    experiment: Experiment, train: Any, target: dict[str, float]
) -> None:
    alike = FunctionCondition(train=train, budget=60, **target)  # type: ignore[arg-type]
    assert decide(experiment, FunctionCondition(train=honest, budget=60), alike).name != "inconclusive"


def test_what_functions_read_of_their_seed() -> None:
    class Object:
        def method(self, seed: int) -> int:
            return 3

        def __call__(self, seed: int) -> int:
            return 3

    assert not reads_seed(constant_torch_seed)
    assert not reads_seed(Object().method)
    assert not reads_seed(lambda seed: 3)
    assert reads_seed(lambda seed: 3 + seed)
    assert reads_seed(lambda seed: [seed for _ in range(3)])
    assert reads_seed(lambda seed: (lambda: seed)())
    assert reads_seed(lambda seed: locals())
    assert reads_seed(lambda *given: 3)
    assert reads_seed(Object())  # not looked into
    assert reads_seed(int)


def test_fewer_than_8_replicas_are_no_evidence(experiment: Experiment) -> None:
    one_run = FunctionCondition(train=constant_torch_seed, budget=60)
    other = FunctionCondition(train=honest, budget=60)
    assert evaluate(faster(one_run, than=other), max_replicas=6, experiment=experiment).decision.replicas == 6


def test_a_stored_run_is_still_one_run(tmp_path: Any, experiment: Experiment) -> None:
    class BlockByBlock(LocalExecutor):
        def train(self, looks: Any, *rest: Any) -> Any:
            for jobs in looks:
                for job in jobs:
                    yield from super().train(iter([[job]]), *rest)

    one_run = FunctionCondition(train=constant_torch_seed, budget=60)
    other = FunctionCondition(train=honest, budget=60)
    with pytest.raises(ClaimError, match=ONE_RUN):
        decide(
            Experiment(store=experiment.store, executor=BlockByBlock(), compute_config=experiment.compute_config),
            one_run,
            other,
        )
    with pytest.raises(ClaimError, match=ONE_RUN):
        decide(experiment, one_run, other)
    assert experiment.trained_replicas == 0


# LightningModules


class Regression(LightningModule):
    def __init__(self, *, seed: int | None = None, zeros: bool = False, learning_rate: float = 0.3) -> None:
        super().__init__()
        if seed is not None:
            seed_everything(seed, verbose=False)
        self.line, self.learning_rate = nn.Linear(4, 1), learning_rate
        if zeros:
            nn.init.zeros_(self.line.weight)
            nn.init.zeros_(self.line.bias)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.line(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)


def batches(shuffle: bool = True) -> DataLoader[Any]:
    x = torch.linspace(-1, 1, 32).reshape(8, 4)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=2, shuffle=shuffle)


def in_order() -> DataLoader[Any]:
    return batches(shuffle=False)


def lightning(module: Any, data: Any = batches, *, at_most: float = 0.05) -> LightningCondition:
    return LightningCondition(
        module=module, data=data, metric="train_loss", at_most=at_most, budget=12, stacked=False, name="own"
    )


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")
@pytest.mark.parametrize(
    ("module", "data"),
    [(lambda: Regression(seed=42), batches), (lambda: Regression(zeros=True), in_order)],
    ids=["seed_everything", "nothing random"],
)
def test_a_lightning_module_that_ignores_its_seed_is_an_error(experiment: Experiment, module: Any, data: Any) -> None:
    for at_most in (0.05, -1.0):  # whether or not it arrives
        with pytest.raises(ClaimError, match=f"^own: {ONE_RUN}; leave seeds to lossact"):
            decide(experiment, lightning(module, data, at_most=at_most), lightning(Regression, at_most=at_most))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")
@pytest.mark.parametrize(
    ("module", "at_most"),
    [
        (lambda: Regression(zeros=True), 0.05),  # only the order of batches differs
        (lambda: Regression(zeros=True, learning_rate=1e30), 0.05),  # all weights are infinite in the end
        (lambda: Regression(), -1.0),
    ],
    ids=["order", "diverged", "censored"],
)
def test_lightning_modules_that_only_look_alike_are_decided(
    experiment: Experiment, module: Any, at_most: float
) -> None:
    conditions = lightning(module, at_most=at_most), lightning(lambda: Regression(learning_rate=0.01), at_most=at_most)
    assert decide(experiment, *conditions).decision.replicas >= FEWEST_EQUAL_RUNS


# Networks

X = np.linspace(-1, 1, 32).reshape(8, 4)
Y = X.sum(1)


def seeded_network() -> nn.Module:
    torch.manual_seed(42)
    return nn.Linear(4, 1)


def network() -> nn.Module:
    return nn.Linear(4, 1)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.squeeze(-1) - targets) ** 2


def ignores_its_generator(generator: np.random.Generator) -> Any:
    return X, Y


def trained(make: Any = seeded_network, *, data: Any = None, **changes: Any) -> Condition:
    values: dict[str, Any] = {"optimizer": Adam(learning_rate=0.1), "target": Loss().at_most(0.01), "budget": 60}
    return Condition(network=make, loss=squared, data=data or Arrays(X, Y), name="own", **values | changes)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_networks_that_start_alike_and_learn_the_same_batch_are_an_error(
    experiment: Experiment, batch_size: int | None
) -> None:
    with pytest.raises(InputError, match="own: all replicas start from the same weights and learn the same examples"):
        decide(experiment, trained(batch_size=batch_size), trained(network))


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("curves", [True, False])
def test_data_that_ignore_their_generator_are_an_error(
    experiment: Experiment, batch_size: int | None, curves: bool
) -> None:
    one_run = trained(data=GeneratedData(ignores_its_generator), batch_size=batch_size)
    experiment = Experiment(store=experiment.store, compute_config=experiment.compute_config, curves=curves)
    with pytest.raises(LossactError, match=r"own: (the first 8 replicas computed|all replicas start from the same)"):
        decide(experiment, one_run, trained(network))


@pytest.mark.parametrize("changes", [{"batch_size": 2}, {"batch_size": 2, "optimizer": Adam(learning_rate=1e30)}])
def test_equal_starts_with_batches_of_their_own_are_decided(experiment: Experiment, changes: dict[str, Any]) -> None:
    verdict = decide(experiment, trained(**changes), trained(network))
    assert verdict.decision.replicas >= REPLICAS


class SeededNoise(nn.Module):
    """Sets a seed and draws in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(42)
        self.line = nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        torch.manual_seed(42)
        return self.line(inputs) * (1 + 0.1 * torch.rand(()))  # type: ignore[no-any-return]


def test_noise_after_a_seed_of_its_own_differs_by_replica(experiment: Experiment) -> None:
    """Draws of a forward pass come from a counter, not from the seed that it sets; stacked, it may not set one."""
    verdict = decide(experiment, trained(SeededNoise, stacked=False), trained(network))
    assert verdict.decision.replicas >= FEWEST_EQUAL_RUNS
    with pytest.raises(InputError, match="which stacked replicas would share"):
        decide(experiment, trained(SeededNoise), trained(network))


def test_curves_that_hardly_move_are_no_evidence() -> None:
    loss = np.array([[1.0, 0.5, 0.25]] * 8 + [[1.0, np.nan, np.nan]] * 8, dtype=np.float32)
    digests = curve_digests(loss, loss, 20)
    assert (digests[:8] == digests[0]).all()
    assert digests[0] != NO_EVIDENCE
    assert (digests[8:] == NO_EVIDENCE).all()
