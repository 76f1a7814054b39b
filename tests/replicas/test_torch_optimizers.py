"""Optimisers of torch's kind over stacked replicas, against one network with the same optimiser in a plain loop."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from claims.literature.muon import Muon
from lossact import SGD, Adam, AdamW, TorchOptimizer
from lossact.errors import InputError
from lossact.replicas.engine import StoppingCriterion
from lossact.replicas.torch_optimizers import TorchStackedOptimizer
from tests.replicas.against_alone import REPLICAS, check_equal_to_alone, make_condition, population_of

RNG = np.random.default_rng(1)
X, Y = RNG.standard_normal((12, 4)), RNG.standard_normal((12, 3))
TORCH: dict[str, tuple[type, dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2, "nesterov": True}),
    "Adam": (torch.optim.Adam, {"lr": 0.02, "weight_decay": 1e-2, "amsgrad": True}),
    "AdamW": (torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.1}),
    "NAdam": (torch.optim.NAdam, {"lr": 0.02, "weight_decay": 1e-2}),
    "RAdam": (torch.optim.RAdam, {"lr": 0.02, "weight_decay": 1e-2}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.02, "momentum": 0.5, "centered": True}),
    "Adagrad": (torch.optim.Adagrad, {"lr": 0.1, "weight_decay": 1e-2}),
    "Adadelta": (torch.optim.Adadelta, {"lr": 1.0}),
    "Adamax": (torch.optim.Adamax, {"lr": 0.02, "weight_decay": 1e-2}),
    "ASGD": (torch.optim.ASGD, {"lr": 0.05, "t0": 2, "weight_decay": 1e-2}),
    "Rprop": (torch.optim.Rprop, {"lr": 0.01}),
    "Adafactor": (torch.optim.Adafactor, {"lr": 0.02, "weight_decay": 1e-2}),
}


class SignDescent(torch.optim.Optimizer):
    """A user's own: a step of equal length along each number."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad.sign(), alpha=group["lr"])


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets) ** 2


def mean_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return squared(outputs, targets).mean()


def matrices_and_vectors(module: nn.Module) -> list[dict[str, Any]]:
    """As people find groups: by their dimensions, which stacking would change."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "lr": 0.03},
        {"params": [p for p in parameters if p.dim() < 2], "lr": 0.003},
    ]


def clip_norm(module: nn.Module) -> None:
    nn.utils.clip_grad_norm_(module.parameters(), 0.4)


def clip_value(module: nn.Module) -> None:
    nn.utils.clip_grad_value_(module.parameters(), 0.05)


@pytest.mark.parametrize("name", TORCH)
def test_torchs_optimizers_move_replicas_as_they_move_one(name: str) -> None:
    """With parameter groups, and each replica's gradient clipped by its norm."""
    kind, arguments = TORCH[name]
    optimizer = TorchOptimizer(kind, groups=matrices_and_vectors, **arguments)
    condition = make_condition(network, squared, X, Y, optimizer=optimizer, clip_norm=0.4)
    check_equal_to_alone(
        condition, network, mean_squared, lambda module: kind(matrices_and_vectors(module), **arguments), clip=clip_norm
    )


RULES: dict[str, tuple[Any, Callable[..., torch.optim.Optimizer]]] = {
    "SGD": (SGD(learning_rate=0.05), partial(torch.optim.SGD, lr=0.05)),
    "Nesterov": (
        SGD(learning_rate=0.05, momentum=0.9, weight_decay=1e-2, nesterov=True),
        partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-2, nesterov=True),
    ),
    "Adam": (
        Adam(learning_rate=0.02, weight_decay=1e-2),
        partial(torch.optim.Adam, lr=0.02, weight_decay=1e-2),
    ),
    "AdamW": (AdamW(learning_rate=0.02), partial(torch.optim.AdamW, lr=0.02)),
    "capturable, where nothing is captured": (
        TorchOptimizer(torch.optim.NAdam, lr=0.02, capturable=True),
        partial(torch.optim.NAdam, lr=0.02),
    ),
    "sign descent": (TorchOptimizer(SignDescent, lr=0.02), partial(SignDescent, lr=0.02)),
    "sign descent, elementwise": (
        TorchOptimizer(SignDescent, elementwise=True, lr=0.02),
        partial(SignDescent, lr=0.02),
    ),
}


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "side by side"])
@pytest.mark.parametrize("name", RULES)
def test_rules_and_users_optimizers_equal_torchs(name: str, stacked: bool) -> None:
    """Each number of the gradient clipped."""
    optimizer, make = RULES[name]
    condition = make_condition(network, squared, X, Y, optimizer=optimizer, clip_value=0.05, stacked=stacked)
    check_equal_to_alone(condition, network, mean_squared, lambda module: make(module.parameters()), clip=clip_value)


def matrices_alone() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 3, bias=False))


def test_muon_orthogonalises_each_replicas_matrices() -> None:
    condition = make_condition(
        matrices_alone, squared, X, Y, optimizer=TorchOptimizer(torch.optim.Muon, lr=0.02, weight_decay=0.1)
    )
    population, inputs, targets = population_of(condition)
    check_equal_to_alone(
        condition, matrices_alone, mean_squared,
        lambda module: torch.optim.Muon(module.parameters(), lr=0.02, weight_decay=0.1),
    )  # fmt: skip
    assert population.n_replicas == 2
    assert len(inputs) == len(targets) == 1


def test_a_users_own_muon_orthogonalises_all_replicas_at_once() -> None:
    optimizer = TorchOptimizer(Muon, stacked=True, lr=0.02, weight_decay=0.1)
    condition = make_condition(matrices_alone, squared, X, Y, optimizer=optimizer)
    check_equal_to_alone(
        condition, matrices_alone, mean_squared, lambda module: Muon(module.parameters(), lr=0.02, weight_decay=0.1)
    )
    population, _, _ = population_of(condition)
    assert isinstance(population.optimizer, TorchStackedOptimizer)
    assert optimizer != TorchOptimizer(Muon, lr=0.02, weight_decay=0.1)  # another key: rounding may differ


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7)])
def test_the_papers_muon_is_torchs_in_the_precision_of_its_weights(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # in which torch orthogonalises
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator, dtype=torch.float64)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers: list[Any] = [Muon([ours], lr=0.03), torch.optim.Muon([theirs], lr=0.03)]
    for _ in range(10):
        ours.grad = torch.randn(shape, generator=generator, dtype=torch.float64)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_lbfgs_asks_for_the_loss_as_often_as_it_likes() -> None:
    arguments: dict[str, Any] = {"lr": 0.5, "max_iter": 4, "history_size": 3}
    condition = make_condition(network, squared, X, Y, optimizer=TorchOptimizer(torch.optim.LBFGS, **arguments))
    check_equal_to_alone(
        condition, network, mean_squared, lambda module: torch.optim.LBFGS(module.parameters(), **arguments),
        closure=True, updates=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(learning_rate=0.1, momentum=0.9), Adam(learning_rate=0.1), TorchOptimizer(torch.optim.NAdam, lr=0.1),
        TorchOptimizer(torch.optim.Adafactor, lr=0.1),
    ],
    ids=str,
)  # fmt: skip
def test_a_resting_replica_keeps_its_weights_and_its_optimizers_state(optimizer: Any) -> None:
    condition = make_condition(network, squared, X, Y, optimizer=optimizer)
    population, inputs, targets = population_of(condition)
    population.advance(inputs, targets, 3, first=0, criterion=None)
    losses, _ = population.measure(inputs, targets, update=3)
    between = float(losses.mean())
    before = {name: tensor.clone() for name, tensor in population.networks.parameters.items()}
    state = tensors_of(population.optimizer.state_dict())
    population.advance(inputs, targets, 1, first=3, criterion=StoppingCriterion(between, of_loss=True, at_most=True))
    (resting,) = population.reached.nonzero().T.tolist()
    assert len(resting) == 1
    (row,) = resting
    for name, tensor in population.networks.parameters.items():
        assert torch.equal(tensor[row], before[name][row])
        assert not torch.equal(tensor[1 - row], before[name][1 - row])
    for tensor, saved in zip(tensors_of(population.optimizer.state_dict()), state, strict=True):
        if tensor.shape[:1] == (len(REPLICAS),) and tensor.ndim > 1:
            assert torch.equal(tensor[row], saved[row])


@pytest.mark.parametrize(
    "optimizer",
    [
        Adam(learning_rate=0.1), TorchOptimizer(torch.optim.NAdam, lr=0.1),
        TorchOptimizer(torch.optim.Adafactor, lr=0.1),
    ],
    ids=str,
)  # fmt: skip
def test_a_saved_population_goes_on_bit_for_bit(optimizer: Any) -> None:
    condition = make_condition(network, squared, X, Y, optimizer=optimizer)
    population, inputs, targets = population_of(condition)
    population.advance(inputs, targets, 3, first=0, criterion=None)
    file = io.BytesIO()
    torch.save(population.state_dict(), file)
    file.seek(0)
    resumed, _, _ = population_of(condition)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for each in (population, resumed):
        each.advance(inputs, targets, 2, first=3, criterion=None)
    for name, tensor in population.networks.parameters.items():
        assert torch.equal(tensor, resumed.networks.parameters[name])


def tensors_of(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state.clone()]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else []
    return [tensor for part in parts for tensor in tensors_of(part)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TorchOptimizer("adam"), "takes a class, not 'adam'; try TorchOptimizer"),  # type: ignore[arg-type]
        (lambda: TorchOptimizer(torch.optim.NAdam, rate=0.1), "NAdam.*unexpected keyword argument 'rate'"),
        (lambda: TorchOptimizer(torch.optim.NAdam, lr=-1.0), r"\(NAdam, lr=-1.0\): Invalid learning rate"),
        (lambda: TorchOptimizer(torch.optim.NAdam, groups=3), "groups must be a function"),  # type: ignore[arg-type]
        (lambda: SGD(learning_rate=0.1, nesterov=True), r"nesterov=True needs a momentum > 0"),
        (
            lambda: population_of(
                make_condition(
                    network, squared, X, Y,
                    optimizer=TorchOptimizer(torch.optim.SGD, groups=lambda m: [{"params": m[0].parameters()}], lr=1.0),
                )
            ),
            "groups leave out '2.bias', which would never move",
        ),
        (lambda: make_condition(network, squared, X, Y, clip_norm=0.0), "clip_norm=0.0 must be > 0; try 1.0"),
        (
            lambda: make_condition(network, squared, X, Y, clip_norm=1.0, clip_value=1.0),
            "clip_norm=1.0 and clip_value=1.0: give one of the two",
        ),
        (lambda: TorchOptimizer(torch.optim.SGD, lr=float("nan")), "lr=nan must be finite"),
        (lambda: TorchOptimizer(torch.optim.SGD, lr=float("inf")), "lr=inf must be finite"),
        (lambda: TorchOptimizer(torch.optim.SparseAdam, lr=0.1), "needs sparse gradients.*take Adam"),
        (lambda: TorchOptimizer(torch.optim.Adam, lr=0.1, differentiable=True), "differentiable=True.*leave it out"),
    ],
)  # fmt: skip
def test_what_no_optimizer_takes_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_the_key_holds_class_arguments_and_groups() -> None:
    optimizers = [
        TorchOptimizer(torch.optim.NAdam, lr=0.1), TorchOptimizer(torch.optim.NAdam, lr=0.2),
        TorchOptimizer(torch.optim.RAdam, lr=0.1), TorchOptimizer(SignDescent, lr=0.1),
        TorchOptimizer(SignDescent, elementwise=True, lr=0.1),
        TorchOptimizer(torch.optim.NAdam, groups=matrices_and_vectors, lr=0.1),
    ]  # fmt: skip
    contents = {str(optimizer.content()) for optimizer in optimizers}
    assert len(contents) == len(optimizers)
    assert TorchOptimizer(torch.optim.NAdam, lr=0.1) == optimizers[0]


class ByTheNorm(torch.optim.SGD):
    """Moves a tensor by its gradient's direction, which is that of all replicas together where they are stacked."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.sub_(group["lr"] * parameter.grad / parameter.grad.norm())


class ByTheRatio(torch.optim.SGD):
    """Moves a tensor by its gradient times its norm over the gradient's, as LARS does."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                ratio = parameter.data.norm() / parameter.grad.norm()
                parameter.data.sub_(group["lr"] * ratio * parameter.grad)


def test_an_optimizer_by_a_ratio_of_norms_is_refused() -> None:
    optimizer = TorchOptimizer(ByTheRatio, lr=0.1, elementwise=True)
    with pytest.raises(InputError, match="elementwise=True, but it moves"):
        population_of(make_condition(lambda: nn.Linear(4, 3, bias=False), squared, X, Y, optimizer=optimizer))


@pytest.mark.parametrize("option", ["elementwise", "stacked"])
def test_an_optimizer_that_does_not_move_replicas_as_alone_is_refused(option: str) -> None:
    optimizer = TorchOptimizer(ByTheNorm, lr=0.1, **{option: True})  # type: ignore[arg-type]
    condition = make_condition(network, squared, X, Y, optimizer=optimizer)
    with pytest.raises(InputError, match=rf"{option}=True, but it moves '.*' .*; leave {option} out"):
        population_of(condition)
    alone = make_condition(network, squared, X, Y, optimizer=TorchOptimizer(ByTheNorm, lr=0.1))
    check_equal_to_alone(alone, network, mean_squared, lambda module: ByTheNorm(module.parameters(), lr=0.1))
