"""Optimisers in the configs of `lossact fit`: torch's with schedules, and several for parts of the parameters."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from lossact import SGD, AdamW, Condition, Partition, TorchOptimizer, cosine, linear, step_decay
from lossact.cli import main
from lossact.conditions.optimizers import Optimizer
from lossact.running.training_module import training_module
from tests.training.test_single import pytestmark as pytestmark  # what warns there warns here

CONFIGS = Path(__file__).parent.parent / "configs"
HERE = "tests.test_train_optimizers"


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 2


def is_hidden(name: str, parameter: nn.Parameter) -> bool:
    return name.startswith("hidden")


def part(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"lossact.{name}", "init_args": arguments}


def of_torch(kind: str, **arguments: Any) -> dict[str, Any]:
    return part("TorchOptimizer", kind=f"torch.optim.{kind}") | {"dict_kwargs": arguments}


RISING_AND_FALLING = part("cosine", peak=0.02, warmup=5)
MUON_AND_SGD = part(
    "Partition", chosen_by=f"{HERE}.is_matrix", chosen=of_torch("Muon", lr=RISING_AND_FALLING, ns_steps=3),
    rest=part("SGD", learning_rate=part("linear", start=0.5, end=0.1)),
)  # fmt: skip
OPTIMIZERS: dict[str, tuple[dict[str, Any], Optimizer]] = {
    "one schedule": (
        of_torch("NAdam", lr=RISING_AND_FALLING),
        TorchOptimizer(torch.optim.NAdam, lr=cosine(0.02, warmup=5)),
    ),
    "three": (
        of_torch(
            "SGD", lr=part("step_decay", start=0.1, every=7), momentum=part("linear", start=0.5, end=0.9),
            weight_decay=part("linear", start=0.1, end=0), nesterov=True,
        ),
        TorchOptimizer(
            torch.optim.SGD, lr=step_decay(0.1, every=7), momentum=linear(0.5, 0.9), weight_decay=linear(0.1, 0.0),
            nesterov=True,
        ),
    ),
    "parts": (
        MUON_AND_SGD,
        Partition(
            is_matrix, TorchOptimizer(torch.optim.Muon, lr=cosine(0.02, warmup=5), ns_steps=3),
            SGD(learning_rate=linear(0.5, 0.1)),
        ),
    ),
    "parts of parts": (
        part("Partition", chosen_by=f"{HERE}.is_hidden", chosen=part("AdamW", weight_decay=0.1), rest=MUON_AND_SGD),
        Partition(
            is_hidden, AdamW(weight_decay=0.1),
            Partition(
                is_matrix, TorchOptimizer(torch.optim.Muon, lr=cosine(0.02, warmup=5), ns_steps=3),
                SGD(learning_rate=linear(0.5, 0.1)),
            ),
        ),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The modules that `lossact fit` trains, each after a copy of its network as it starts."""
    made: list[Any] = []

    def keep(*arguments: Any, **options: Any) -> Any:
        module: Any = training_module(*arguments, **options)
        made.append((copy.deepcopy(getattr(module, "network", None)), module, arguments[0]))
        return module

    monkeypatch.setattr("lossact.cli.train.training_module", keep)
    return made


def fit(optimizer: dict[str, Any], *options: str) -> None:
    Path("own.yaml").write_text(yaml.safe_dump({"model": {"optimizer": optimizer, "budget": 20}}))
    given = [f"--config={CONFIGS / name}.yaml" for name in ("mlp_relu_ce", "with/float64")]
    main(
        ["fit", *given, "--config=own.yaml", "--trainer.logger=false", "--trainer.enable_checkpointing=false", *options]
    )


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_config_gives_the_optimizer_that_python_does(name: str, replicas: int, modules: list[Any]) -> None:
    in_config, optimizer = OPTIMIZERS[name]
    fit(in_config, f"--model.replicas={replicas}")
    condition: Condition = modules[0][2]
    assert condition.optimizer == optimizer


def test_parts_of_a_config_move_as_in_a_plain_loop(modules: list[Any]) -> None:
    fit(MUON_AND_SGD)
    ((alone, module, _),) = modules
    alone = alone.double()
    inputs, classes = (tensor.double() for tensor in module.training_examples)
    muon = torch.optim.Muon([alone.hidden.weight, alone.output.weight], lr=0.02, ns_steps=3)
    sgd = torch.optim.SGD([alone.hidden.bias, alone.output.bias], lr=0.5)
    for update in range(20):
        falling = (1 + math.cos(math.pi * (update - 5) / 15)) / 2
        muon.param_groups[0]["lr"] = 0.02 * (min(1, (update + 1) / 5) if update < 5 else falling)
        sgd.param_groups[0]["lr"] = 0.5 - 0.4 * update / 19
        alone.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(alone(inputs), classes).backward()  # type: ignore[no-untyped-call]
        muon.step()  # type: ignore[no-untyped-call]
        sgd.step()
    for ours, theirs in zip(module.network.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


WRONG = {
    "an argument of the schedule": (part("cosine", peak=0.02, warm=5), "TorchOptimizer: lr is no schedule:"),
    "a value of the schedule": (part("cosine", peak=0.02, warmup=-5), "warmup=-5 must be an integer >= 0"),
    "no such schedule": (part("cosin", peak=0.02), "TorchOptimizer: lr is no schedule:"),
    "something else": (part("Adam"), "lossact.Adam does not correspond to a subclass of Schedule"),
    "no class": ({"peak": 0.02}, "in a config a schedule is lr: {class_path: lossact.cosine, init_args: {peak: 0.01}}"),
    "a warm-up beyond the budget": (part("cosine", peak=0.02, warmup=50), "warmup=50 must be below the budget of 20"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("within", ["alone", "a part"])
def test_a_wrong_schedule_is_one_message(
    case: str, within: str, modules: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    schedule, message = WRONG[case]
    optimizer = of_torch("NAdam", lr=schedule)
    if within == "a part":
        optimizer = part("Partition", chosen_by=f"{HERE}.is_matrix", chosen=part("AdamW"), rest=optimizer)
    with pytest.raises(SystemExit) as stopped:
        fit(optimizer)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.startswith("lossact fit: ")
    assert message in error
    assert error.count("\n") == 1
    assert not modules
