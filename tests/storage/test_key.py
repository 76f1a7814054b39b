import ast
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lossact
from lossact import (
    EMA,
    SGD,
    SWA,
    Accuracy,
    Adam,
    AdamW,
    Experiment,
    FunctionCondition,
    ImageFiles,
    LightningCondition,
    Loss,
    MLPConfig,
    RandomImages,
    Store,
    Target,
    default_compute_config,
    evaluate,
    sampled,
)
from lossact.conditions.frozen_mapping import FrozenMapping
from lossact.cpp_compiler import compiler_version
from lossact.fingerprint import syntax_digest
from lossact.replicas.random_streams import SAMPLE, sample_for_replica
from lossact.storage import machine
from lossact.storage.key import digest, key_content, numbers_content, trial_key
from lossact.storage.machine import COMPUTING_ROOMS, expected_capability, machine_content, source_digest
from lossact.training.compute_config import ComputeConfig
from tests.conftest import report_condition

SET_BELOW = ("accumulate", "average", "augment")
OTHER: dict[type, Any] = {float: 0.123, int: 7, bool: True, type(None): 7, FrozenMapping: {"loss": Loss()}}


def variants(value: Any) -> list[Any]:
    """Every value that differs from a frozen one in a single field, fields of fields included."""
    changed = []
    for field in fields(value):
        if not field.init or not field.compare or field.name in ("stacked", "measured_at", *SET_BELOW):
            # The first is for modules, see test_modules; the second needs measures, see below.
            continue
        now = getattr(value, field.name)
        if isinstance(value, Target) and now is None:  # a target has one threshold
            continue
        if is_dataclass(now):
            changed += [replace(value, **{field.name: inner}) for inner in variants(now)]
        elif not isinstance(now, str):
            changed.append(replace(value, **{field.name: OTHER[type(now)]}))
    return changed


def test_every_field_of_a_condition_is_in_the_key() -> None:
    base = report_condition()
    conditions = [base, *variants(base), replace(base, loss="l2"), replace(base, version="x")]
    conditions += [
        replace(base, target=Accuracy(split="validation").at_least(1.0)),
        replace(base, target=Loss().at_most(1.0)),
    ]
    conditions += [replace(base, optimizer=kind(learning_rate=0.1)) for kind in (SGD, Adam, AdamW)]
    conditions.append(replace(base, network=MLPConfig(activation="relu")))
    conditions.append(replace(base, measures={"loss": Loss()}, measured_at=(1,)))
    conditions.append(replace(base, batch_size=3, accumulate=2))
    conditions += [
        replace(base, average=average) for average in (EMA(0.9), EMA(0.8), SWA(start=1), SWA(start=1, every=2))
    ]
    conditions.append(replace(base, augment=np.negative))
    assert len(conditions) >= 23
    assert len({trial_key(condition, 0, ComputeConfig()) for condition in conditions}) == len(conditions)


def test_every_field_of_the_setting_is_in_the_key() -> None:
    settings = [
        ComputeConfig(),
        *variants(ComputeConfig()),
        ComputeConfig(device="cuda"),
        ComputeConfig(precision="64-true"),
    ]
    assert len({trial_key(report_condition(), 0, compute_config) for compute_config in settings}) == len(settings)


def test_the_seed_is_in_the_key() -> None:
    assert trial_key(report_condition(), 1, ComputeConfig()) != trial_key(report_condition(), 0, ComputeConfig())


@pytest.fixture(scope="module")
def copied_rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy") / "lossact"
    shutil.copytree(Path(lossact.__file__).parent, folder)
    return folder


DIGESTED = cache(syntax_digest)


@pytest.fixture(autouse=True)
def digested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have equal sources be digested once: all but one file are the same each time."""
    monkeypatch.setattr(machine, "syntax_digest", DIGESTED)


@pytest.mark.parametrize("room", COMPUTING_ROOMS)
def test_code_of_every_computing_room_is_in_the_key(room: str, copied_rooms: Path) -> None:
    """The first and the last file of each room, also in folders within it; comments and docstrings do not count."""
    before = source_digest.__wrapped__(copied_rooms)
    assert before == source_digest()
    files = sorted(file for file in (copied_rooms / room).rglob("*.py") if file.name != "__init__.py")
    for file in (files[0], files[-1]):
        source = file.read_text()
        file.write_text("# A comment.\n\n" + source.replace('"""', '"""Edited. ', 1) + "\n\n# Another.\n")
        assert source_digest.__wrapped__(copied_rooms) == before
        file.write_text(source + "\nEDITED = True\n")
        assert source_digest.__wrapped__(copied_rooms) != before
        file.write_text(source)
    assert source_digest.__wrapped__(copied_rooms) == before


@pytest.mark.parametrize("name", ["elementwise.h", "mlp.cpp"])
def test_programs_in_cpp_are_in_the_key(name: str, copied_rooms: Path) -> None:
    before = source_digest.__wrapped__(copied_rooms)
    (file,) = copied_rooms.rglob(name)
    source = file.read_text()
    file.write_text(source + "\n")
    assert source_digest.__wrapped__(copied_rooms) != before
    file.write_text(source)
    assert source_digest.__wrapped__(copied_rooms) == before


PRODUCTS = """
import torch, sys
from lossact.storage.machine import machine_content
found = [machine_content()["float32 products"]]
torch.set_float32_matmul_precision("high")
found.append(machine_content()["float32 products"])
torch.set_float32_matmul_precision("highest")
found.append(machine_content()["float32 products"])
if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    found.append(machine_content()["float32 products"])
print(*found, sep=";")
"""


def test_how_products_are_rounded_is_in_the_key() -> None:
    run = subprocess.run([sys.executable, "-c", PRODUCTS], capture_output=True, text=True, check=True, timeout=120)
    found = run.stdout.strip().split(";")
    assert found[:3] == ["highest", "high", "highest"]
    assert all(each.startswith("cuda tf32, cpu ") for each in found[3:])


def test_the_source_digest_is_in_the_key() -> None:
    content = key_content(report_condition(), 0, ComputeConfig())
    assert content["source"] == source_digest()
    assert trial_key(report_condition(), 0, ComputeConfig()) == digest(content)
    assert digest(content | {"source": "edited"}) != digest(content)


def test_rooms_that_compute_are_those_that_training_imports() -> None:
    """In a fresh process, every room that training imports is digested or known not to compute."""
    code = (
        "import sys, lossact.running.runner, lossact.running.external; "
        "print({name.split('.')[1] for name in sys.modules if name.startswith('lossact.')})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    # These check input, carry results, summarise them for logs or say what code and compiler are; no trial depends on
    # them.
    passive = {"checks", "cpp_compiler", "errors", "fingerprint", "requirements", "stats", "storage"}
    assert ast.literal_eval(run.stdout) - passive == set(COMPUTING_ROOMS)


def normal_around(mean: float) -> Callable[[np.random.Generator], float]:
    return lambda generator: generator.normal(mean, 1)


def test_captured_values_of_wrapped_functions_are_in_the_key_of_their_numbers(tmp_path: Path) -> None:
    """Two claims about two functions of one shape have two answers, and stores of the old form answer none."""
    claims = [sampled(normal_around(mean), 0) for mean in (0.25, -1.0)]
    loops = [[sample_for_replica(claim_mean, 0, replica, SAMPLE) > 0 for replica in range(192)] for claim_mean in DRAWS]
    with Store(tmp_path) as store:
        old: dict[str, Any] = {"function": {"name": "lossact.claims.effects.sampled.<locals>.draws"}, "files": []}
        config = default_compute_config()
        content = {"measure": old, "seed": 0, "setting": asdict(config)} | machine_content()
        store.add_numbers(digest(content), content, np.full(192, 1.0))
        experiment = Experiment(store=store, compute_config=config)
        verdicts = [evaluate(claim, experiment=experiment, max_replicas=192) for claim in claims]
        again = [evaluate(claim, experiment=experiment, max_replicas=192) for claim in claims]
    for verdict, loop in zip(verdicts, loops, strict=True):
        assert verdict.decision.value == pytest.approx(np.mean(loop[: verdict.decision.replicas]))
    assert [verdict.decision.value for verdict in again] == [verdict.decision.value for verdict in verdicts]
    assert verdicts[0].decision.value > 0.5 > verdicts[1].decision.value


DRAWS = (lambda g: g.normal(0.25, 1), lambda g: g.normal(-1.0, 1))


def test_the_cpu_capability_is_torchs_without_asking_torch() -> None:
    """In a process that has not imported torch, where Linux lists what the CPU can do."""
    expected = expected_capability(platform.machine(), Path("/proc/cpuinfo"))
    assert expected in (None, torch.backends.cpu.get_cpu_capability())
    code = "from lossact.storage.machine import machine_content; import sys, json; "
    code += "print(json.dumps(machine_content())); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    content, imported = run.stdout.splitlines()
    assert json.loads(content) == machine_content()
    assert imported == str(expected is None)


@pytest.mark.parametrize(
    ("flags", "capability"),
    [
        ("fpu sse2", "DEFAULT"),
        ("avx avx2", "DEFAULT"),
        ("avx2 fma", "AVX2"),
        ("avx2 fma avx512f", "AVX2"),
        ("avx2 fma avx512f avx512vl avx512bw avx512dq", "AVX512"),
    ],
)
def test_a_cpus_flags_name_its_capability(flags: str, capability: str, tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert expected_capability("x86_64", file) == capability
    assert expected_capability("aarch64", file) is None
    assert expected_capability("x86_64", tmp_path / "missing") is None


def test_a_wrong_guess_of_the_machine_is_mended_before_training(tmp_path: Path) -> None:
    """A process that imports torch only to train stores under the capability that torch names."""
    code = f"""
import sys
import lossact.storage.machine as machine
from lossact import SGD, Condition, Experiment, MLPConfig, RandomImages, Store
machine.expected_capability = lambda *_: "ANOTHER"
assert "torch" not in sys.modules
with Store({str(tmp_path)!r}) as store:
    network, optimizer = MLPConfig(hidden=4, activation="relu"), SGD(learning_rate=0.1)
    condition = Condition(network=network, loss="l2", optimizer=optimizer, data=RandomImages(), budget=2)
    experiment = Experiment(store=store)
    guessed = experiment.key(condition)
    experiment.trials([condition], 2)
    assert experiment.key(condition) != guessed
    assert store.holds(experiment.key(condition)) and not store.holds(guessed)
print("stored")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert run.stdout.strip().endswith("stored"), run.stderr


def test_names_and_places_are_not_in_the_key(course_data: Any, tmp_path: Any) -> None:
    base = report_condition()
    assert trial_key(replace(base, name="x"), 0, ComputeConfig()) == trial_key(base, 0, ComputeConfig())
    for name in ("random_imgs.npy", "random_labs.npy"):
        (tmp_path / name).write_bytes((course_data / name).read_bytes())
    keys = {
        trial_key(replace(base, data=ImageFiles.in_directory(folder, "random")), 0, ComputeConfig())
        for folder in (course_data, tmp_path)
    }
    assert len(keys) == 1


def test_the_key_is_readable_as_json() -> None:
    content = json.loads(json.dumps(key_content(replace(report_condition(), data=RandomImages()), 0, ComputeConfig())))
    assert content["versions"].keys() == {"torch", "numpy", "lightning"}


def test_triton_counts_on_a_gpu_alone() -> None:
    """It builds the kernel that trains MLPs there; keys of the CPU do not know it."""
    kinds = {device: key_content(report_condition(), 0, ComputeConfig(device=device)) for device in ("cpu", "cuda")}
    on_cpu, on_gpu = kinds["cpu"]["versions"], kinds["cuda"]["versions"]
    expected = importlib.metadata.version("triton") if find_spec("triton") else "missing"
    assert on_gpu == on_cpu | {"triton": expected}
    assert machine_content() == machine_content("cpu") == machine_content("mps")


def network() -> nn.Module:
    return nn.Linear(1, 1)


def met_at_once(seed: int) -> int:
    return 0


@pytest.mark.parametrize(("compiled", "counts"), [(True, True), ("auto", True), (False, False)])
def test_the_cpp_compiler_counts_where_something_may_be_compiled(compiled: Any, counts: bool) -> None:
    config = ComputeConfig(compiled=compiled)
    versions = key_content(report_condition(), 0, config)["versions"]
    assert versions.get("c++") == (compiler_version() if counts else None)
    for budget, is_compiled in ((19_999, compiled is True), (20_000, counts)):
        of_a_module = replace(report_condition(), network=network, budget=budget)
        assert ("c++" in key_content(of_a_module, 0, config)["versions"]) == is_compiled
    on_gpu = key_content(report_condition(), 0, replace(config, device="cuda"))["versions"]
    assert on_gpu.keys() == {"torch", "numpy", "lightning", "triton"}


def test_what_lossact_never_compiles_has_one_key() -> None:
    """A user's LightningModule, a function and numbers: whatever is asked of training."""
    subjects: list[Callable[[ComputeConfig], dict[str, Any]]] = [
        lambda config: key_content(LightningCondition(module=network, metric="loss", at_most=0.1, budget=1), 0, config),
        lambda config: key_content(FunctionCondition(train=met_at_once, budget=1), 0, config),
        lambda config: numbers_content(normal_around(0.0), 0, config),
    ]
    for content in subjects:
        contents = [content(ComputeConfig(compiled=compiled)) for compiled in (True, "auto", False)]
        assert contents[0] == contents[1] == contents[2]
        assert "c++" not in contents[0]["versions"]
        assert contents[0]["setting"]["compiled"] is False


def test_another_compiler_has_trials_trained_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[str]:
        return [
            trial_key(report_condition(), 0, ComputeConfig(compiled=compiled)) for compiled in (True, "auto", False)
        ]

    before = keys()
    file = tmp_path / "g++"
    file.write_text("#!/bin/sh\necho g++ 0.1\n")
    file.chmod(0o755)
    monkeypatch.setenv("CXX", str(file))
    after = keys()
    assert before[0] == before[1]  # the same program
    assert after[0] == after[1]
    assert after[2] == before[2]
    assert len({*before, *after}) == 3


def test_numpys_numbers_are_numbers() -> None:
    base = report_condition()
    budget, hidden, decay, rate = np.array([1000])[0], np.array([4])[0], np.float32(0.5), np.float64(0.1)
    network = MLPConfig(activation="sigmoid", hidden=hidden)
    assert isinstance(base.optimizer, SGD)
    same = replace(base, budget=budget, network=network, optimizer=replace(base.optimizer, learning_rate=rate))
    assert same == base
    assert trial_key(same, 0, ComputeConfig()) == trial_key(base, 0, ComputeConfig())
    single: Any = SGD(learning_rate=0.1, weight_decay=float(decay))
    object.__setattr__(single, "weight_decay", decay)
    json.dumps(key_content(replace(base, optimizer=single), 0, ComputeConfig()))
