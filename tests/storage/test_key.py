import json
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from lossact import SGD, Accuracy, Adam, AdamW, ImageFiles, Loss, MLPConfig, RandomImages
from lossact.storage import key as key_module
from lossact.storage.key import key_content, trial_key
from lossact.training.compute_config import ComputeConfig
from tests.conftest import report_condition

OTHER: dict[type, Any] = {float: 0.123, int: 7, bool: True, type(None): 7}


def variants(value: Any) -> list[Any]:
    """Every value that differs from a frozen one in a single field, fields of fields included."""
    found = []
    for field in fields(value):
        if not field.init or not field.compare or field.name == "stacked":  # that one is for modules, see test_modules
            continue
        now = getattr(value, field.name)
        if is_dataclass(now):
            found += [replace(value, **{field.name: inner}) for inner in variants(now)]
        elif not isinstance(now, str):
            found.append(replace(value, **{field.name: OTHER[type(now)]}))
    return found


def test_every_field_of_a_condition_is_in_the_key() -> None:
    base = report_condition()
    conditions = [base, *variants(base), replace(base, loss="l2"), replace(base, version="x")]
    conditions += [
        replace(base, target=Accuracy(split="validation").at_least(1.0)),
        replace(base, target=Loss().at_most(1.0)),
    ]
    conditions += [replace(base, optimizer=kind(learning_rate=0.1)) for kind in (SGD, Adam, AdamW)]
    conditions.append(replace(base, network=MLPConfig(activation="relu")))
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


def test_the_seed_and_the_source_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    base = trial_key(report_condition(), 0, ComputeConfig())
    assert trial_key(report_condition(), 1, ComputeConfig()) != base
    monkeypatch.setattr(key_module, "source_digest", lambda: "edited")
    assert trial_key(report_condition(), 0, ComputeConfig()) != base


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
