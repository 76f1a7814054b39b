"""Random MLPs and CNNs, trained by a program and by the eager step, and how far apart they end."""

import torch
from torch import Tensor

from lossact.replicas.cnn import StackedCNN
from lossact.replicas.engine import NEVER, Hyperparameters, ReplicaState, StoppingCriterion, advance, make_step
from lossact.replicas.kernels import Train
from lossact.replicas.launch import Launch
from lossact.replicas.mlp import StackedMLP
from lossact.replicas.update_rules import AdamRule, SGDRule, UpdateRule

DTYPES = (torch.float32, torch.float64)
SMALL = StackedMLP(5, 3, "tanh", "cross_entropy")
OF_SGD = ((0.5, 0.2), (0.9, 0.5), (0.01, 0.1))
OF_ADAM = ((0.05, 0.02), (0.9, 0.5), (0.99, 0.9), (1e-6, 1e-3), (0.01, 0.1))


class Case:
    """Replicas in a random start, on random images.

    Attributes:
        parameters, inputs, targets, values, gradient_scale: as a Launch has them; tests put other numbers there.
        reached, diverged: (replicas,) after training by the program.
    """

    def __init__(
        self,
        network: StackedMLP | StackedCNN,
        dtype: torch.dtype,
        *,
        replicas: int = 1,
        batch: int = 6,
        shared: bool = False,
        rule: UpdateRule | None = None,
    ) -> None:
        random = torch.Generator().manual_seed(1)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

        self.network, sets = network, 1 if shared else replicas
        self.parameters = normal(replicas, network.size)
        if isinstance(network, StackedMLP):
            self.inputs = normal(sets, network.features, batch)
        else:
            self.inputs = network.arrange_inputs(normal(sets, batch, *network.image_shape))
        self.targets = (normal(sets, batch) > 0).to(dtype)
        self.values = tuple(
            torch.linspace(low, high, replicas, dtype=dtype).unsqueeze(1)
            for low, high in (OF_ADAM if isinstance(rule, AdamRule) else OF_SGD)
        )
        self.rule = rule
        self.gradient_scale = 1 + 0.1 * normal(replicas, network.size)
        self.reached: list[bool] = []
        self.diverged: list[bool] = []

    def launch(
        self, *, nesterov: bool = False, criterion: StoppingCriterion = NEVER, dtype: torch.dtype | None = None
    ) -> Launch:
        """Return the launch of all replicas from their start, in another dtype where one is given."""
        rule, kind = self.rule or SGDRule(nesterov), self.parameters.dtype if dtype is None else dtype
        h = Hyperparameters(tuple(value.to(kind) for value in self.values), self.gradient_scale.to(kind))
        state = ReplicaState.start(self.parameters.to(kind), rule)
        return Launch(self.network, rule, criterion, state, self.inputs.to(kind), self.targets.to(kind), h)

    def difference(
        self,
        train: Train,
        n_updates: int,
        *,
        nesterov: bool = False,
        criterion: StoppingCriterion = NEVER,
        launches: int = 1,
        in_double: bool = False,
    ) -> float:
        """Return the largest difference from the eager step; inf where flags differ, or what is not finite.

        Args:
            train: the program.
            n_updates: of one launch.
            nesterov, criterion: of all launches.
            launches: how many follow each other.
            in_double: whether the eager step is in double precision whatever the program's.
        """
        program = self.launch(nesterov=nesterov, criterion=criterion)
        eager = self.launch(nesterov=nesterov, criterion=criterion, dtype=torch.float64 if in_double else None)
        largest = 0.0
        for _ in range(launches):
            curves, expected = train(program, n_updates), by_eager_steps(eager, n_updates)
            largest = max(largest, *(distance(a, b) for a, b in zip(curves, expected, strict=True)))
        ours, theirs = program.state, eager.state
        moves = ~(theirs.reached | theirs.diverged)
        same = torch.equal(ours.reached, theirs.reached) and torch.equal(ours.diverged, theirs.diverged)
        velocities = distance(ours.optimizer_state[moves], theirs.optimizer_state[moves])
        largest = max(largest, velocities, distance(ours.parameters, theirs.parameters))
        self.reached, self.diverged = ours.reached.tolist(), ours.diverged.tolist()
        return largest if same else float("inf")


def by_eager_steps(launch: Launch, n_updates: int) -> tuple[Tensor, Tensor]:
    """Take all updates of a launch as torch computes them."""
    step = make_step(launch.network, launch.rule, launch.criterion, compiled=False)
    return advance(step, launch.state, launch.inputs, launch.targets, launch.hyperparameters, n_updates)


def distance(values: Tensor, expected: Tensor) -> float:
    """The largest |a - b| / max(1, |b|); inf where one of them is finite, or NaN, and the other is not."""
    if not torch.equal(values.isfinite(), expected.isfinite()) or not torch.equal(values.isnan(), expected.isnan()):
        return float("inf")
    finite = expected.isfinite()
    gap = (values - expected).abs() / expected.abs().clamp(min=1)
    return float(gap[finite].max()) if bool(finite.any()) else 0.0
