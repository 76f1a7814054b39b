"""Replicas of a condition beside the same networks in plain torch loops, update by update."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lossact import SGD, Arrays, Condition, Loss
from lossact.replicas.named_population import NamedPopulation
from lossact.replicas.random_streams import WEIGHTS, replica_generator
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import ComputeConfig

DOUBLE = ComputeConfig(precision="64-true", threads=1)
REPLICAS = [0, 5]
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


def plain_sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)


SGD_OF_LOSSACT = SGD(learning_rate=0.05, momentum=0.9, weight_decay=1e-3)


def make_condition(make: Any, loss: Any, inputs: Any, targets: Any, **changes: Any) -> Condition:
    given: dict[str, Any] = {"optimizer": SGD_OF_LOSSACT, "target": Loss().at_most(-1.0), "budget": 5}
    return Condition(network=make, loss=loss, data=Arrays(inputs, targets), **given | changes)


def population_of(condition: Condition) -> tuple[NamedPopulation, Any, Tensor]:
    """The replicas, and the examples that all share."""
    module = stacked_training(condition, 0, REPLICAS, DOUBLE)
    assert isinstance(module.population, NamedPopulation)
    return module.population, module.inputs, module.targets


def network_alone(make: Callable[[], nn.Module], replica: int) -> nn.Module:
    """A replica's network by itself, with the weights that it starts from."""
    with torch.random.fork_rng():
        torch.manual_seed(int(replica_generator(0, replica, WEIGHTS).integers(2**63)))
        network = make()
    for tensor in (*network.parameters(), *network.buffers()):  # network.double() would drop imaginary parts
        if tensor.is_complex():
            tensor.data = tensor.data.to(torch.complex128)
        elif tensor.is_floating_point():
            tensor.data = tensor.data.to(torch.float64)
    return network


def check_equal_to_alone(
    condition: Condition,
    make: Callable[[], nn.Module],
    loss: Callable[[Any, Tensor], Tensor],
    make_optimizer: MakeOptimizer = plain_sgd,
    *,
    clip: Callable[[nn.Module], Any] | None = None,
    updates: int = 5,
    closure: bool = False,
) -> None:
    """Compare losses, parameters and buffers after every update; `loss` gives the batch's mean."""
    population, inputs, targets = population_of(condition)
    x = {n: t[0] for n, t in inputs.items()} if isinstance(inputs, dict) else inputs
    arguments = [t[0] for t in x] if isinstance(x, tuple) else x if isinstance(x, dict) else [x[0]]
    y = targets[0]
    alone = [network_alone(make, replica) for replica in REPLICAS]
    optimizers = [make_optimizer(network) for network in alone]

    def answer(network: nn.Module) -> Any:
        return network(**arguments) if isinstance(arguments, dict) else network(*arguments)

    for update in range(updates):
        losses, _ = population.advance(inputs, targets, 1, first=update, criterion=None)
        for row, (network, optimizer) in enumerate(zip(alone, optimizers, strict=True)):

            def evaluate(network: nn.Module = network, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
                optimizer.zero_grad()
                value = loss(answer(network), y)
                torch.autograd.backward(value)
                if clip is not None:
                    clip(network)
                return value

            if closure:
                value: Any = optimizer.step(evaluate)  # type: ignore[arg-type]
            else:
                value = evaluate()
                optimizer.step()
            np.testing.assert_allclose(losses[0, row].item(), value.item(), rtol=1e-9, atol=1e-12)
            compare_tensors(population.networks.parameters, dict(network.named_parameters()), row)
            compare_tensors(population.networks.buffers, dict(network.named_buffers()), row)


def compare_tensors(stacked: dict[str, Tensor], alone: dict[str, Tensor], row: int) -> None:
    assert stacked.keys() == alone.keys()
    for name, tensor in alone.items():
        np.testing.assert_allclose(
            stacked[name][row].numpy(), tensor.detach().numpy(), rtol=1e-9, atol=1e-10, err_msg=name
        )
