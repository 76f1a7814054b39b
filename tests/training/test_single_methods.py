"""One network under Lightning with schedules, averages and augmentation, against replicas of the same condition."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from lossact import (
    EMA,
    SGD,
    Accuracy,
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
ROWS = {
    "schedules": replace(PLAIN, optimizer=SGD(learning_rate=cosine(0.5, warmup=4), momentum=linear(0.5, 0.9))),
    "adamw": replace(PLAIN, optimizer=AdamW(learning_rate=cosine(0.1), beta1=linear(0.8, 0.9))),
    "torch": replace(PLAIN, optimizer=TorchOptimizer(torch.optim.RMSprop, lr=cosine(0.1))),
    "average": replace(PLAIN, average=EMA(0.8)),
    "augmentation": replace(PLAIN, augment=with_noise),
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
@pytest.mark.parametrize("name", ["schedules", "average"])
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
        (
            {"optimizer": Partition(lambda name, p: p.ndim == 2, AdamW(), AdamW(weight_decay=0.0))},
            "is two optimizers, which a single replica does not take; train two",
        ),
    ],
)
def test_what_a_single_network_does_not_do_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        training_module(replace(PLAIN, **changes), 0, [0])
