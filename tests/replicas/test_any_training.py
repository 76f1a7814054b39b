"""Anybody's loss, metric, optimiser, batches and validation data: stacked against one network in a plain loop."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from lossact import SGD, Accuracy, Adam, AdamW, Arrays, Condition, GeneratedData, Loss, Metric, MLPConfig, faster
from lossact.errors import LossactError
from lossact.replicas.random_streams import DATA, ORDER, WEIGHTS, replica_generator
from lossact.running.runner import fit, train_jobs
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig

DOUBLE = ComputeConfig(precision="64-true", threads=1)
CROSS_ENTROPY = partial(f.cross_entropy, reduction="none")
OPTIMIZERS: dict[str, tuple[Any, Callable[..., torch.optim.Optimizer]]] = {
    "sgd": (
        SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-3),
        partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-3),
    ),
    "adam": (
        Adam(learning_rate=0.02, beta1=0.8, beta2=0.99, weight_decay=1e-2),
        partial(torch.optim.Adam, lr=0.02, betas=(0.8, 0.99), weight_decay=1e-2),
    ),
    "adamw": (
        AdamW(learning_rate=0.02, weight_decay=0.1),
        partial(torch.optim.AdamW, lr=0.02, weight_decay=0.1),
    ),
}


def clouds(generator: np.random.Generator) -> Any:
    """Three overlapping clouds of points, for each of training and validation."""

    def draw(n: int) -> tuple[Any, Any]:
        classes = generator.integers(0, 3, n)
        centres = np.array([[0.0, 1.5], [1.3, -0.8], [-1.3, -0.8]])
        return centres[classes] + generator.standard_normal((n, 2)) * 0.6, classes

    return *draw(40), draw(30)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))


def condition(optimizer: Any, **changes: Any) -> Condition:
    given: dict[str, Any] = {
        "network": network, "loss": CROSS_ENTROPY, "optimizer": optimizer, "data": GeneratedData(clouds), "budget": 60,
        "target": Accuracy().at_least(0.95),
    }  # fmt: skip
    return Condition(**given | changes)


def batches(replica: int, n: int, size: int | None) -> Iterator[Any]:
    generator = replica_generator(0, replica, ORDER)
    while True:
        order = generator.permutation(n) if size else np.arange(n)
        for at in range(0, n - (size or n) + 1, size or n):
            yield order[at : at + (size or n)]


def train_alone(
    trained: Condition, make: Callable[..., torch.optim.Optimizer], replica: int, *, measure: Callable[..., float]
) -> list[float]:
    """What is measured before each update and after the last, of one network with torch's own optimiser."""
    data = trained.data.sample(replica_generator(0, replica, DATA))
    x, y = torch.from_numpy(data.inputs), torch.from_numpy(data.targets)
    assert trained.target is not None
    shown = data.validation if trained.target.split == "validation" else data
    assert shown is not None
    with torch.random.fork_rng():
        torch.manual_seed(int(replica_generator(0, replica, WEIGHTS).integers(2**63)))
        module = network().double()
    optimizer = make(module.parameters())
    order = batches(replica, len(x), trained.batch_size)
    measurements: list[float] = []

    def look() -> None:
        with torch.no_grad():
            measurements.append(measure(module(torch.from_numpy(shown.inputs)), torch.from_numpy(shown.targets)))

    for _ in range(trained.budget):
        look()
        chosen = next(order)
        optimizer.zero_grad()
        torch.autograd.backward(f.cross_entropy(module(x[chosen]), y[chosen]))
        optimizer.step()
    look()
    return measurements


def share_right(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs.argmax(1) == targets).double().mean())


@pytest.mark.parametrize("batch_size", [None, 7, 40])
@pytest.mark.parametrize("on", ["training", "validation"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_replicas_equal_networks_trained_alone(name: str, on: str, batch_size: int | None) -> None:
    optimizer, make = OPTIMIZERS[name]
    never = condition(optimizer, target=Loss(split=on).at_most(0.0), batch_size=batch_size)
    accuracy = condition(optimizer, target=Accuracy(split=on).at_least(0.95), batch_size=batch_size)
    replicas = [0, 1, 17]
    modules = []
    for judged in (never, accuracy):
        modules.append(stacked_training(judged, 0, replicas, DOUBLE, curves_of=3))
        fit(modules[-1], DOUBLE)
    losses, reached = (module.outcome() for module in modules)
    for row, replica in enumerate(replicas):
        alone = train_alone(never, make, replica, measure=lambda *given: float(f.cross_entropy(*given)))
        np.testing.assert_allclose(losses.loss[row], alone, rtol=1e-9)
        right = train_alone(accuracy, make, replica, measure=share_right)
        met = [k for k, share in enumerate(right) if share >= 0.95]
        assert bool(reached.reached[row]) == bool(met)
        if met:
            assert reached.steps_to_target[row] == met[0]
    assert not losses.reached.any()


def test_conditions_of_one_optimiser_share_a_launch_and_train_as_alone() -> None:
    conditions = [condition(Adam(learning_rate=rate), batch_size=8) for rate in (0.003, 0.03)]
    group_blocks: list[int] = []
    jobs = [(trained, 0) for trained in conditions]
    blocks = list(
        train_jobs(
            jobs, 0, DOUBLE, lambda progress: group_blocks.append(len({condition for condition, _ in progress.launch}))
        )
    )
    assert set(group_blocks) == {2}
    for block in blocks:
        (alone,) = train_jobs([(block.condition, 0)], 0, DOUBLE)
        np.testing.assert_array_equal(block.curves.loss, alone.curves.loss)


def test_a_custom_metric_may_have_a_lower_or_an_upper_threshold() -> None:
    def miss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(1) != targets).double()

    def right(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(1) == targets).double().mean()

    outcomes = []
    for target in (Accuracy().at_least(0.9), Metric(right).at_least(0.9), Metric(miss).at_most(0.1)):
        module = stacked_training(condition(Adam(learning_rate=0.02), target=target), 0, range(8), DOUBLE)
        fit(module, DOUBLE)
        outcomes.append(module.outcome())
    assert outcomes[0].reached.any()
    for other in outcomes[1:]:
        np.testing.assert_array_equal(outcomes[0].reached, other.reached)
        np.testing.assert_array_equal(outcomes[0].steps_to_target, other.steps_to_target)


@pytest.mark.parametrize("batch_size", [None, 16])
def test_own_layers_and_modules_agree(batch_size: int | None) -> None:
    """A built-in network by its own stacked layers, and through torch.func, where its loss has no name."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((64, 5))
    data = Arrays(x, (x[:, 0] * x[:, 1] > 0).astype(float), validation=(x[:20], (x[:20, 0] > 0).astype(float)))

    def named(outputs: Tensor, targets: Tensor) -> Tensor:
        return f.binary_cross_entropy_with_logits(outputs, targets, reduction="none")

    curves = []
    for loss in ("cross_entropy", named):
        with_loss = Condition(
            network=MLPConfig(activation="tanh", hidden=6), loss=loss, optimizer=AdamW(learning_rate=0.02), data=data,
            budget=40, target=Loss(split="validation").at_most(0.0), batch_size=batch_size,
        )  # fmt: skip
        module = stacked_training(with_loss, 0, range(4), DOUBLE, curves_of=4)
        fit(module, DOUBLE)
        curves.append(module.outcome().loss)
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-9)


def test_measuring_less_often_moves_the_target_to_the_next_measurement() -> None:
    steps = []
    for every in (1, 5):
        measured_seldom = condition(
            Adam(learning_rate=0.02),
            target=Accuracy(split="validation").at_least(0.9),
            measured_every=every,
            batch_size=8,
        )
        module = stacked_training(measured_seldom, 0, range(16), DOUBLE)
        fit(module, DOUBLE)
        steps.append(module.outcome())
    fine, coarse = steps
    both = fine.reached & coarse.reached
    assert both.any()
    assert (coarse.steps_to_target[both] % 5 == 0).all()
    assert (coarse.steps_to_target[both] >= fine.steps_to_target[both]).all()


def test_integers_reach_a_network_as_integers() -> None:
    words = np.random.default_rng(0).integers(0, 9, (30, 4))
    of_words = condition(
        Adam(learning_rate=0.05), data=Arrays(words, words[:, 0] % 3),
        network=lambda: nn.Sequential(nn.Embedding(9, 6), nn.Flatten(), nn.Linear(24, 3)),
    )  # fmt: skip
    module = stacked_training(of_words, 0, range(4), ComputeConfig(threads=1))
    fit(module, ComputeConfig(threads=1))
    assert module.outcome().reached.all()


def dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 3))


def test_side_by_side_modules_are_judged_without_dropout() -> None:
    with_dropout = condition(
        SGD(learning_rate=1e-9), network=dropout, stacked=False, target=Loss(split="validation").at_most(0.0), budget=6
    )
    module = stacked_training(with_dropout, 0, [0, 1], DOUBLE, curves_of=2)
    fit(module, DOUBLE)
    np.testing.assert_allclose(module.outcome().loss, module.outcome().loss[:, :1].repeat(7, axis=1), rtol=1e-6)


def noisy() -> nn.Module:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.frozen = nn.Linear(2, 3), nn.BatchNorm1d(2).eval()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.linear(self.frozen(x)) + torch.randn(len(x), 3, dtype=x.dtype)
            return out

    return Noisy()


def test_draws_while_measuring_belong_to_the_replica() -> None:
    """Noise in evaluation mode too, and a part that stays in evaluation mode."""
    noisy_condition = condition(SGD(learning_rate=0.1), network=noisy, stacked=False, batch_size=8, budget=5)
    curves = []
    for replicas, seed in (([3], 1), ([0, 3], 2)):
        torch.manual_seed(seed)
        module = stacked_training(noisy_condition, 0, replicas, DOUBLE, curves_of=2)
        fit(module, DOUBLE)
        curves.append(module.outcome().loss[-1])
        assert not module.population.networks.modules[0].frozen.training  # type: ignore[attr-defined]
    np.testing.assert_array_equal(*curves)


def explodes(outputs: Tensor, targets: Tensor) -> Tensor:
    """Infinite on the batches that hold the first example."""
    return CROSS_ENTROPY(outputs, targets.abs()) / (targets >= 0)


def test_a_replica_at_rest_stays_what_it_is_whatever_its_later_batches_say() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 2)), rng.integers(1, 3, 40)
    bad = np.where(np.arange(40) == 0, -y, y)
    exploding = condition(
        SGD(learning_rate=1e-9), loss=explodes, data=Arrays(x, bad, validation=(x, y)), batch_size=1, budget=40,
        target=Metric(lambda outputs, targets: outputs[:, 0].mean(), split="validation").at_least(0.0),
    )  # fmt: skip
    module = stacked_training(exploding, 0, range(12), DOUBLE)
    fit(module, DOUBLE)
    outcome = module.outcome()
    assert outcome.reached.any()
    assert outcome.diverged.any()
    assert not (outcome.reached & outcome.diverged).any()
    assert (outcome.steps_to_target[outcome.reached] == 0).all()


def test_equal_content_is_an_equal_condition() -> None:
    def made() -> Condition:
        return condition(Adam(), network=partial(nn.Linear, 2, 3))

    assert made() == made()
    assert len({made(), made(), condition(Adam(), network=partial(nn.Linear, 3, 2))}) == 2
    with pytest.raises(LossactError, match="must differ, but two are equal in all that is trained"):
        faster(made(), than=made())


X, Y, LOW = np.zeros((6, 2)), np.zeros(6, np.int64), Loss().at_most(0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: condition(Adam(), loss=lambda outputs, targets: 1.0), r"loss returned float for 40 examples"),
        (
            lambda: condition(Adam(), network=lambda: nn.Linear(2, 1), loss=lambda p, y: (p - y) ** 2, target=LOW),
            r"loss returned \(40, 40\) for outputs \(40, 1\) and targets \(40,\): it pairs every output with every",
        ),
        (lambda: condition(Adam(), target=Loss()), r"target=Loss.* has no threshold; write Loss\(...\).at_most\(0.1\)"),
        (lambda: condition(Adam(), loss="cross_entropy"), r"'cross_entropy' needs targets of shape \(examples,\)"),
        (lambda: condition(Adam(), loss="hinge", data=Arrays(X, 2.0 * Y - 1)), r"'hinge' needs .* from -1 to -1; for"),
        (lambda: condition(Adam(), loss="l2", data=Arrays(X, X)), r"loss='l2' needs targets .* have shape \(6, 2\)"),
        (lambda: condition(Adam(), loss="l2", data=Arrays(X, Y)), r"loss='l2' needs one logit an example"),
        (lambda: condition(Adam(), network=lambda: nn.Linear(5, 3)), r"does not take inputs of shape \(40, 2\)"),
        (lambda: condition(Adam(), network=lambda: 3), r"made int; it must return an nn.Module"),
        (
            lambda: condition(Adam(), target=Metric(lambda outputs, targets: outputs).at_least(1)),
            r"metric returned \(40, 3\); it must return a tensor: one number, or one an example",
        ),
        (
            lambda: condition(Adam(), loss=lambda outputs, targets: outputs[:, targets.max().item()]),
            r"cannot be stacked by torch.func.vmap \(vmap: .*\); train it one at a time with Condition\(stacked=F",
        ),
        (lambda: condition(Adam(), batch_size=41), r"batch_size=41 must be at most the 40 examples"),
        (
            lambda: condition(Adam(), data=Arrays(X, Y), target=Accuracy(split="validation").at_least(0.9)),
            r"and its data have none",
        ),
        (lambda: Arrays(X, Y[:5]), r"6 inputs and 5 targets; one target an input is needed"),
        (lambda: Arrays(X, Y, validation=(X[:, :1], Y)), r"validation inputs are float64 of shape \(1,\) each, those"),
        (lambda: Arrays(X, Y, validation=X), r"validation must be a pair"),
        (lambda: Arrays(X * np.nan, Y), r"inputs hold inf or NaN; leave those examples out"),
        (lambda: Arrays(["a"], [1]), r"inputs have dtype <U1; numbers are needed"),
        (lambda: Arrays(X[0], Y), r"inputs have shape \(2,\)"),
        (lambda: condition(Adam(), data=GeneratedData(lambda g: 3)), r"returned int; return \(inputs, targets\)"),
        (
            lambda: condition(Adam(), data=GeneratedData(lambda g: (np.zeros((g.integers(2, 99), 2)),) * 2)),
            r"inputs of replicas have shapes .* all replicas must share one",
        ),
        (lambda: GeneratedData(3), r"draw=3 must be a function"),  # type: ignore[arg-type]
        (lambda: Loss().at_most(float("nan")), r"at_most=nan must be a finite number"),
        (lambda: Metric("accuracy").at_least(1), r"must be a function"),  # type: ignore[arg-type]
        (lambda: Accuracy(split="test").at_least(0.5), r"a target on test examples would choose by them"),
        (lambda: Adam(beta1=1.0), r"beta1=1.0 must be >= 0 and < 1"),
        (lambda: condition(Adam(), batch_size=0), r"batch_size=0 must be an integer >= 1"),
        (lambda: condition("adam"), r"optimizer='adam' must be one of SGD, Adam, AdamW"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(LossactError, match=message):  # noqa: PT012 - made at once, or when it is trained
        made = make()
        stacked_training(made, 0, range(2), DOUBLE)
