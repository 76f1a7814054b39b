"""One network under Lightning with schedules, averages and augmentation, against replicas of the same condition."""

import copy
import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lossact import (
    EMA,
    SGD,
    Accuracy,
    Adam,
    AdamW,
    Condition,
    GeneratedData,
    Loss,
    Partition,
    TorchOptimizer,
    cosine,
    linear,
)
from lossact.errors import InputError
from lossact.running.runner import fit
from lossact.running.stacking import stacked_training
from lossact.running.training_module import training_module
from lossact.training.parts_optimizer import PartsOptimizer
from tests.training.test_single import DOUBLE, drawn, pytestmark  # noqa: F401  what warns there warns here
from tests.training.test_single import trainer as quiet_trainer


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))


def with_noise(inputs: torch.Tensor) -> torch.Tensor:
    return inputs + 0.3 * torch.randn_like(inputs)


PLAIN = Condition(
    network=network, loss="cross_entropy", optimizer=SGD(learning_rate=0.3), data=GeneratedData(drawn), batch_size=7,
    target=Accuracy(split="validation").at_least(1.0), budget=20,
)  # fmt: skip


def is_first(name: str, parameter: torch.Tensor) -> bool:
    return name.startswith("0.")


def is_matrix(name: str, parameter: torch.Tensor) -> bool:
    return parameter.ndim == 2


PARTS = Partition(
    is_matrix,
    TorchOptimizer(torch.optim.Muon, lr=cosine(0.05), weight_decay=0.02),
    Partition(is_first, AdamW(learning_rate=linear(0.05, 0.01), beta1=linear(0.8, 0.9)), SGD(learning_rate=0.3)),
)
ROWS = {
    "schedules": replace(PLAIN, optimizer=SGD(learning_rate=cosine(0.5, warmup=4), momentum=linear(0.5, 0.9))),
    "adamw": replace(PLAIN, optimizer=AdamW(learning_rate=cosine(0.1), beta1=linear(0.8, 0.9))),
    "torch": replace(PLAIN, optimizer=TorchOptimizer(torch.optim.RMSprop, lr=cosine(0.1))),
    "average": replace(PLAIN, average=EMA(0.8)),
    "augmentation": replace(PLAIN, augment=with_noise),
    "parts": replace(
        PLAIN, optimizer=Partition(is_first, Adam(learning_rate=cosine(0.1)), SGD(learning_rate=0.3, momentum=0.9))
    ),
}


def trainer(folder: Path, **flags: Any) -> Trainer:
    return quiet_trainer(default_root_dir=folder, precision="64-true", **flags)


@pytest.mark.parametrize("name", ROWS)
def test_a_single_network_measures_as_the_engine_does(name: str, tmp_path: Path) -> None:
    condition = ROWS[name]
    engine = stacked_training(condition, 0, [0, 1], DOUBLE, curves_of=2)
    fit(engine, DOUBLE)
    for replica in range(2):
        single = training_module(condition, 0, [replica], precision="64-true")
        trainer(tmp_path).fit(single)
        curve = torch.stack(single.metrics).numpy()  # type: ignore[arg-type]
        np.testing.assert_allclose(engine.outcome().metric[replica, : len(curve)], curve, rtol=1e-9)
        losses = torch.stack(single.losses).numpy()  # type: ignore[arg-type]
        np.testing.assert_allclose(engine.outcome().loss[replica, : len(losses)], losses, rtol=1e-9)
        assert len(curve) > 3


@pytest.mark.parametrize("replicas", [[1], [0, 1]], ids=["one", "two"])
@pytest.mark.parametrize("name", ["schedules", "average", "parts"])
def test_a_resumed_run_is_the_undisturbed_one(name: str, replicas: list[int], tmp_path: Path) -> None:
    condition = replace(ROWS[name], budget=100, target=Loss(split="validation").at_most(0.0))
    losses = []
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=50, save_top_k=-1, filename="{step}")
    for path in (None, tmp_path / "step=50.ckpt"):
        module = training_module(condition, 0, replicas, precision="64-true")
        trainer(tmp_path, callbacks=[keep], enable_checkpointing=True).fit(module, ckpt_path=path, weights_only=True)
        if len(replicas) == 1:
            losses.append(torch.stack(module.losses).numpy())  # type: ignore[arg-type]
        else:
            losses.append(module.outcome().loss)  # type: ignore[operator]
    np.testing.assert_array_equal(losses[0], losses[1])


@pytest.mark.parametrize("replicas", [[1], [0, 1]], ids=["one", "two"])
def test_a_checkpoint_without_the_average_is_named(replicas: list[int], tmp_path: Path) -> None:
    plain = training_module(replace(PLAIN, budget=30), 0, replicas, precision="64-true")
    before = trainer(tmp_path)
    before.fit(plain)
    before.save_checkpoint(tmp_path / "plain.ckpt")
    averaged = training_module(replace(PLAIN, budget=30, average=EMA(0.8)), 0, replicas, precision="64-true")
    with pytest.raises(InputError, match="the checkpoint's average is None, that of the config"):
        trainer(tmp_path).fit(averaged, ckpt_path=tmp_path / "plain.ckpt", weights_only=True)


def test_a_single_network_predicts_by_its_average(tmp_path: Path) -> None:
    module: Any = training_module(ROWS["average"], 0, [0], precision="64-true")
    fitting = trainer(tmp_path)
    fitting.fit(module)
    (predicted,) = fitting.predict(module)  # type: ignore[misc]
    raw = module.network(module.training_examples[0])
    with module.average.in_place_of(module._averaged):
        averaged = module.network(module.training_examples[0])
    torch.testing.assert_close(predicted, averaged)
    assert not torch.allclose(torch.as_tensor(predicted), raw)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accumulate": 2}, "a single one takes the Trainer's accumulate_grad_batches=2"),
        ({"optimizer": Partition(lambda name, p: False, AdamW(), SGD(learning_rate=1.0))}, "chooses none of the"),
        (
            {"optimizer": Partition(is_first, AdamW(), Partition(is_first, AdamW(), SGD(learning_rate=1.0)))},
            "chooses none of the",
        ),
    ],
)
def test_what_a_single_network_does_not_do_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        training_module(replace(PLAIN, **changes), 0, [0])


def test_a_part_that_asks_for_the_loss_again_is_refused(tmp_path: Path) -> None:
    parts = Partition(is_first, TorchOptimizer(torch.optim.LBFGS), AdamW())
    module = training_module(replace(PLAIN, optimizer=parts), 0, [0], precision="64-true")
    with pytest.raises(InputError, match="a single network under the Trainer does not do; train two replicas or more"):
        trainer(tmp_path).fit(module)


def test_parts_of_a_single_network_move_as_in_a_plain_loop(tmp_path: Path) -> None:
    """Muon, AdamW and SGD, two of them on schedules, each weight after each of 30 updates."""
    condition = replace(
        PLAIN, optimizer=PARTS, batch_size=None, budget=30, target=Loss(split="validation").at_most(0.0)
    )
    module: Any = training_module(condition, 0, [1], precision="64-true")
    alone = copy.deepcopy(module.network).double()
    inputs, classes = (tensor.double() for tensor in module.training_examples)
    trajectory: list[list[torch.Tensor]] = []

    class Kept(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            trajectory.append([p.detach().clone() for p in pl_module.network.parameters()])

    trainer(tmp_path, callbacks=[Kept()]).fit(module)

    first, _, second, _ = alone
    muon = torch.optim.Muon([first.weight, second.weight], lr=0.05, weight_decay=0.02)
    adamw = torch.optim.AdamW([first.bias], lr=0.05, weight_decay=0.01)
    sgd = torch.optim.SGD([second.bias], lr=0.3)
    for update in range(30):
        muon.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * update / 30)) / 2
        adamw.param_groups[0]["lr"] = 0.05 - 0.04 * update / 29
        adamw.param_groups[0]["betas"] = (0.8 + 0.1 * update / 29, 0.999)
        for optimizer in (muon, adamw, sgd):
            optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(alone(inputs), classes).backward()  # type: ignore[no-untyped-call]
        for optimizer in (muon, adamw, sgd):
            optimizer.step()  # type: ignore[no-untyped-call]
        for ours, theirs in zip(trajectory[update], alone.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=1e-12)


def test_parts_step_after_one_evaluation_of_the_loss_and_load_what_they_saved() -> None:
    def made() -> tuple[list[nn.Parameter], PartsOptimizer]:
        parameters = [nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([3.0]))]
        momentum = torch.optim.SGD(parameters[:1], lr=0.1, momentum=0.9)
        return parameters, PartsOptimizer([momentum, torch.optim.Adam(parameters[1:])])

    def closure(parameters: list[nn.Parameter], optimizer: PartsOptimizer, calls: list[int]) -> torch.Tensor:
        calls.append(1)
        optimizer.zero_grad()
        loss: torch.Tensor = sum((p**2).sum() for p in parameters)  # type: ignore[assignment]
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    whole, optimizer = made()
    calls: list[int] = []
    assert optimizer.step(functools.partial(closure, whole, optimizer, calls)) == 14
    assert len(calls) == 1
    resumed, other = made()
    for ours, saved in zip(resumed, whole, strict=True):
        ours.data.copy_(saved.data)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.param_groups[1]["lr"] = optimizer.param_groups[1]["lr"] = 0.5  # the groups are the parts' own also then
    optimizer.step(functools.partial(closure, whole, optimizer, calls))
    other.step(functools.partial(closure, resumed, other, calls))
    for ours, theirs in zip(resumed, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert abs(whole[1].item() - 3.0) > 0.4
    with pytest.raises(ValueError, match="of 1 optimizers, not of 2"):
        other.load_state_dict(torch.optim.SGD(whole, lr=0.1).state_dict())
