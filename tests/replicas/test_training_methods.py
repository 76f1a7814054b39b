"""Schedules, averages, accumulation, partitions and augmentation: replicas against plain loops, update by update."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lossact import (
    EMA,
    SGD,
    SWA,
    Adam,
    AdamW,
    Condition,
    Loss,
    MLPConfig,
    OfNetwork,
    Partition,
    RandomImages,
    TorchOptimizer,
    cosine,
    exponential,
    linear,
    replicate,
)
from lossact.errors import InputError
from lossact.replicas.flat_population import FlatPopulation
from lossact.replicas.random_streams import ORDER, replica_generator
from lossact.running.runner import fit, train_jobs
from lossact.running.stacking import stacked_training
from tests.replicas.against_alone import DOUBLE, REPLICAS, check_equal_to_alone, make_condition, network_alone

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((12, 3)), RNG.integers(0, 2, 12)
BUDGET = 6
EMA_OF_TORCH = get_ema_multi_avg_fn(0.7)  # type: ignore[no-untyped-call]


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2))


def condition(optimizer: Any, **changes: Any) -> Condition:
    return make_condition(network, f.cross_entropy, X, Y, optimizer=optimizer, budget=BUDGET, **changes)


def scheduled(optimizer: torch.optim.Optimizer, *schedulers: Any) -> torch.optim.Optimizer:
    """An optimiser that steps its schedulers after itself."""

    def step_all(*_: Any) -> None:
        for scheduler in schedulers:
            scheduler.step()

    optimizer.register_step_post_hook(step_all)
    return optimizer


def cosine_of_torch(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    return lr_scheduler.CosineAnnealingLR(optimizer, BUDGET)


class MomentumSchedule:
    """A momentum that rises from 0.5 to 0.9 and a decay that shrinks, by hand: torch's schedulers have rates alone."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.update = optimizer, 0

    def step(self) -> None:
        self.update += 1
        for group in self.optimizer.param_groups:
            group["momentum"] = 0.5 + 0.4 * min(self.update / (BUDGET - 1), 1)
            group["weight_decay"] = 0.1 * 0.5**self.update


def sgd_of_torch(network: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.5, weight_decay=0.1)
    return scheduled(optimizer, cosine_of_torch(optimizer), MomentumSchedule(optimizer))


def of_torch(kind: Any, *, lr: float, **arguments: Any) -> Callable[[nn.Module], torch.optim.Optimizer]:
    def make(network: nn.Module) -> torch.optim.Optimizer:
        optimizer = kind(network.parameters(), lr=lr, **arguments)
        return scheduled(optimizer, cosine_of_torch(optimizer))

    return make


def grouped(network: Any) -> list[dict[str, Any]]:
    """Two groups, of which one has a rate that falls twice as fast."""
    return [{"params": network[0].parameters()}, {"params": [*network[1].parameters(), *network[3].parameters()]}]


def grouped_with_a_schedule(network: Any) -> list[dict[str, Any]]:
    first, second = grouped(network)
    return [first, {**second, "lr": exponential(0.05, factor=0.5)}]


def nadam_in_groups(network: nn.Module) -> torch.optim.Optimizer:
    first, second = grouped(network)
    optimizer = torch.optim.NAdam([{**first, "lr": 0.02}, {**second, "lr": 0.05}])
    rates = [lambda u: (1 + np.cos(np.pi * u / BUDGET)) / 2, lambda u: 0.5**u]
    return scheduled(optimizer, lr_scheduler.LambdaLR(optimizer, rates))


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (
            SGD(learning_rate=cosine(0.1), momentum=linear(0.5, 0.9), weight_decay=exponential(0.1, factor=0.5)),
            sgd_of_torch,
        ),
        (AdamW(learning_rate=cosine(0.02)), of_torch(torch.optim.AdamW, lr=0.02)),
        (TorchOptimizer(torch.optim.RMSprop, lr=cosine(0.02)), of_torch(torch.optim.RMSprop, lr=0.02)),
        (TorchOptimizer(torch.optim.NAdam, groups=grouped_with_a_schedule, lr=cosine(0.02)), nadam_in_groups),
    ],
    ids=["sgd", "adamw", "rmsprop", "groups"],
)
def test_schedules_move_each_replica_as_torchs_do(ours: Any, torchs: Any) -> None:
    check_equal_to_alone(condition(ours), network, f.cross_entropy, torchs, updates=BUDGET)


def test_optimizers_that_move_one_replica_after_the_other_follow_schedules() -> None:
    ours = TorchOptimizer(torch.optim.Adafactor, lr=cosine(0.02))
    scheduled = make_condition(small, f.cross_entropy, X, Y, optimizer=ours, budget=BUDGET)
    check_equal_to_alone(scheduled, small, f.cross_entropy, of_torch(torch.optim.Adafactor, lr=0.02), updates=BUDGET)


def test_built_in_networks_follow_a_schedule_as_their_plain_modules_do() -> None:
    """Gradients in closed form and steps on flat parameters against the path that a clipped gradient takes."""
    flat = Condition(
        network=MLPConfig(hidden=4, activation="tanh"), loss="cross_entropy", data=RandomImages(), budget=120,
        optimizer=Adam(learning_rate=cosine(0.05, warmup=30), beta1=linear(0.5, 0.9)), target=Loss().at_most(0.01),
    )  # fmt: skip
    curves = []
    for scheduled in (flat, replace(flat, clip_norm=1e9)):
        module = stacked_training(scheduled, 0, [0, 3], DOUBLE, curves_of=2)
        assert isinstance(module.population, FlatPopulation) == (scheduled is flat)
        fit(module, DOUBLE)
        curves.append(module.outcome().loss)
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-9)
    assert curves[0].min() < 0.5 * curves[0][:, 0].min()


def test_conditions_with_their_own_schedules_train_in_one_launch_as_alone() -> None:
    conditions = [
        condition(SGD(learning_rate=rate, momentum=0.5)) for rate in (cosine(0.1), cosine(0.3), linear(0.1, 0.0), 0.1)
    ]
    together: set[int] = set()
    blocks = list(
        train_jobs([(trained, 0) for trained in conditions], 0, DOUBLE, lambda p: together.add(len(p.launch)))
    )
    assert together == {4}
    for block in blocks:
        (alone,) = train_jobs([(block.condition, 0)], 0, DOUBLE)
        np.testing.assert_array_equal(block.curves.loss, alone.curves.loss)
    assert len({block.curves.loss.tobytes() for block in blocks}) == 4


def batches(replica: int, size: int) -> Iterator[Any]:
    generator = replica_generator(0, replica, ORDER)
    while True:
        order = generator.permutation(len(X))
        for at in range(0, len(X) - size + 1, size):
            yield order[at : at + size]


def loop(
    replica: int, *, size: int, parts: int = 1, average: AveragedModel | None = None, start: int = 0
) -> Iterator[Any]:
    """A plain loop with SGD; yields the network that is measured, before each update and after the last."""
    alone = network_alone(network, replica)
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1, momentum=0.5)
    shown: nn.Module = alone
    order = batches(replica, size)
    if average is not None:
        average.module.load_state_dict(alone.state_dict())
        average.double()
    for update in range(BUDGET):
        yield shown
        optimizer.zero_grad()
        for _ in range(parts):
            chosen = next(order)
            loss = f.cross_entropy(alone(torch.from_numpy(X[chosen])), torch.from_numpy(Y[chosen])) / parts
            torch.autograd.backward(loss)
        optimizer.step()
        if average is not None and update + 1 > start:
            average.update_parameters(alone)
            shown = average.module
    yield shown


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    was = module.training
    module.eval()
    with torch.no_grad():
        yield
    module.train(was)


def losses_of_loop(networks: Iterator[nn.Module]) -> list[float]:
    losses = []
    for shown in networks:
        with evaluating(shown):
            losses.append(float(f.cross_entropy(shown(torch.from_numpy(X)), torch.from_numpy(Y))))
    return losses


def averaged(**arguments: Any) -> AveragedModel:
    return AveragedModel(network(), use_buffers=True, **arguments)


SGD_PLAIN = SGD(learning_rate=0.1, momentum=0.5)
ROWS: dict[str, tuple[dict[str, Any], Callable[[int], Iterator[nn.Module]]]] = {
    "accumulated": ({"batch_size": 4, "accumulate": 3}, lambda replica: loop(replica, size=4, parts=3)),
    "ema": (
        {"batch_size": 6, "average": EMA(0.7)},
        lambda replica: loop(replica, size=6, average=averaged(multi_avg_fn=EMA_OF_TORCH)),
    ),
    "swa": (
        {"batch_size": 6, "average": SWA(start=2)},
        lambda replica: loop(replica, size=6, average=averaged(), start=2),
    ),
}


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("name", ROWS)
def test_what_is_measured_is_what_a_plain_loop_measures(name: str, stacked: bool) -> None:
    changes, alone = ROWS[name]
    module = stacked_training(condition(SGD_PLAIN, **changes, stacked=stacked), 0, REPLICAS, DOUBLE, curves_of=2)
    fit(module, DOUBLE)
    for row, replica in enumerate(REPLICAS):
        np.testing.assert_allclose(module.outcome().loss[row], losses_of_loop(alone(replica)), rtol=1e-9)


def test_networks_that_are_returned_hold_the_average() -> None:
    averaged = condition(SGD_PLAIN, average=EMA(0.7), target=None, measures={"norm": OfNetwork(norm)})
    replicas = replicate(averaged, replicas=2)
    for row, shown in enumerate(replicas.networks):
        assert norm(shown) == pytest.approx(replicas.trials.values["norm"][row])
    unaveraged = replicate(replace(averaged, average=None), replicas=2)
    assert abs(norm(unaveraged.networks[0]) - norm(replicas.networks[0])) > 1e-3


def norm(shown: nn.Module) -> float:
    return float(sum(parameter.detach().square().sum() for parameter in shown.parameters()))


def two_optimizers(network: nn.Module) -> Any:
    """Muon for matrices, AdamW at a rate that falls for the rest."""

    class Both:
        def __init__(self) -> None:
            matrices = [p for p in network.parameters() if p.ndim == 2]
            self.first = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1)
            rest = torch.optim.AdamW([p for p in network.parameters() if p.ndim != 2], lr=0.05)
            self.second = scheduled(rest, cosine_of_torch(rest))

        def zero_grad(self) -> None:
            network.zero_grad()

        def step(self) -> None:
            self.first.step()  # type: ignore[no-untyped-call]
            self.second.step()

    return Both()


def is_matrix(name: str, parameter: Tensor) -> bool:
    return parameter.ndim == 2


def test_a_partition_moves_each_part_by_its_own_optimizer() -> None:
    muon = TorchOptimizer(torch.optim.Muon, lr=0.02, weight_decay=0.1)
    partition = Partition(is_matrix, muon, AdamW(learning_rate=cosine(0.05)))
    check_equal_to_alone(condition(partition), network, f.cross_entropy, two_optimizers, updates=BUDGET)


def test_a_partition_may_leave_some_without_decay() -> None:
    def of_torch(network: nn.Module) -> torch.optim.Optimizer:
        groups = [{"params": [p for p in network.parameters() if (p.ndim == 2) == decays], "weight_decay": 0.3 * decays}
                  for decays in (True, False)]  # fmt: skip
        return torch.optim.AdamW(groups, lr=0.05)

    ours = Partition(
        is_matrix, AdamW(learning_rate=0.05, weight_decay=0.3), AdamW(learning_rate=0.05, weight_decay=0.0)
    )
    check_equal_to_alone(condition(ours), network, f.cross_entropy, of_torch, updates=BUDGET)


def doubled(inputs: Tensor) -> Tensor:
    return 2 * inputs


def with_noise(inputs: Tensor) -> Tensor:
    return inputs + torch.randn_like(inputs)


def test_augmentation_stands_before_the_network_in_training_alone() -> None:
    augmented = make_condition(
        small, f.cross_entropy, X, Y, augment=doubled, batch_size=12, optimizer=SGD(learning_rate=0.1)
    )
    module = stacked_training(augmented, 0, REPLICAS, DOUBLE, curves_of=2)
    fit(module, DOUBLE)
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    for row, replica in enumerate(REPLICAS):
        alone = network_alone(small, replica)
        optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
        for measured in module.outcome().loss[row]:
            assert measured == pytest.approx(f.cross_entropy(alone(x), y).item(), rel=1e-9)
            optimizer.zero_grad()
            torch.autograd.backward(f.cross_entropy(alone(2 * x), y))
            optimizer.step()


def test_what_augmentation_draws_is_each_replicas_own() -> None:
    augmented = make_condition(small, f.cross_entropy, X, Y, augment=with_noise, batch_size=6, accumulate=2)
    curves = {}
    for stacked, replicas in ((True, [5]), (True, [0, 5, 9]), (False, [0, 5])):
        module = stacked_training(replace(augmented, stacked=stacked), 0, replicas, DOUBLE, curves_of=3)
        fit(module, DOUBLE)
        curves[stacked, len(replicas)] = module.outcome().loss
    np.testing.assert_array_equal(curves[True, 1][0], curves[True, 3][1])
    np.testing.assert_allclose(curves[False, 2], curves[True, 3][:2], rtol=1e-9)
    without = stacked_training(replace(augmented, augment=None), 0, [5], DOUBLE, curves_of=1)
    fit(without, DOUBLE)
    assert not np.allclose(without.outcome().loss[0, 1:], curves[True, 1][0, 1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accumulate": 0}, "accumulate=0 must be an integer >= 1"),
        ({"accumulate": 2}, "accumulate=2 without a batch_size"),
        ({"average": 0.9}, r"average=0.9 must be EMA\(0.999\)"),
        ({"average": SWA(start=6)}, "begins after the budget of 6 updates"),
        ({"augment": 3}, "augment=3 must be a function"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        condition(SGD_PLAIN, **changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EMA(1.0), "decay=1.0 must be > 0 and < 1"),
        (lambda: SWA(start=-1), "start=-1 must be an integer >= 0"),
        (lambda: Partition(3, AdamW(), AdamW()), "chosen_by=3 must be a function"),  # type: ignore[arg-type]
        (lambda: Partition(is_matrix, AdamW(), "adam"), "rest='adam' must be an optimizer"),  # type: ignore[arg-type]
        (lambda: Partition(is_matrix, AdamW(), SGD(learning_rate=1.0, bias_gradient_scale=2)), "scales gradients"),
        (
            lambda: replicate(condition(Partition(lambda name, p: True, AdamW(), AdamW())), replicas=2),
            "chooses all of the network's parameters",
        ),
        (
            lambda: replicate(condition(Partition(lambda name, p: False, AdamW(), AdamW())), replicas=2),
            "chooses none of the network's parameters",
        ),
        (
            lambda: replicate(
                condition(TorchOptimizer(torch.optim.LBFGS, lr=0.1), batch_size=4, accumulate=2), replicas=2
            ),
            "asks for the loss more than once in a step, which accumulated gradients do not give",
        ),
        (
            lambda: replicate(condition(SGD_PLAIN, augment=lambda inputs: inputs[:, :1]), replicas=2),
            "network does not take inputs",
        ),
    ],
)
def test_what_cannot_be_is_one_clear_error(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_averages_and_augmentation_are_in_the_key() -> None:
    conditions = [
        condition(SGD_PLAIN, batch_size=4, **changes)
        for changes in (
            {}, {"average": EMA(0.9)}, {"average": EMA(0.99)}, {"average": SWA(start=1)}, {"augment": doubled},
            {"augment": with_noise}, {"accumulate": 2},
        )
    ]  # fmt: skip
    assert len({changed.json for changed in conditions}) == 7
