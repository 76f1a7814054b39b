"""Values that functions hold count by content."""

import operator
import os
import random
import re
import sqlite3
import subprocess
import sys
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import lru_cache, partial, partialmethod, update_wrapper, wraps
from pathlib import Path
from threading import Lock, local
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch._compile import _disable_dynamo

from lossact import SGD, Arrays
from lossact.errors import InputError
from lossact.fingerprint import fingerprint
from lossact.replicas.random_streams import isolate_rng


def scaled(x: Any, by: float = 2.0) -> Any:
    return x * by


class Sized:
    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self) -> int:
        return self.size

    def make(self) -> int:
        return self.size

    @classmethod
    def build(cls) -> str:
        return cls.__name__


class Larger(Sized):
    pass


def keyword(size: int) -> Callable[..., int]:
    def make(*, size: int = size) -> int:
        return size

    return make


def local_class(size: int) -> type:
    class Net:
        def __call__(self) -> int:
            return size

    return Net


def recursive(size: int) -> Callable[[int], int]:
    def go(n: int) -> int:
        return go(n - 1) if n else size

    return go


def membership(name: str) -> bool:
    return name in {"a", "b", "c", "d"}


def holding(value: Any) -> Callable[[], Any]:
    def function() -> Any:
        return value

    return function


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*given: Any) -> Any:
        return function(*given)

    return wrapper


class Wrapper:
    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function)

    def __call__(self) -> Any:
        return self.__wrapped__()  # type: ignore[attr-defined]


class Numbers(list[int]):
    pass


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: float = 0.0
    cells: list[int] = field(default_factory=list)


class Pair(NamedTuple):
    x: int
    y: int


def linear(weight: float) -> nn.Module:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, weight)
    nn.init.zeros_(layer.bias)
    return layer


def masked(mask: bool) -> Any:
    return np.ma.masked_array([1.0, 2.0], mask=[mask, False])


def test_values_that_are_held_count() -> None:
    functions: list[Callable[..., Any]] = [
        scaled, partial(scaled, by=3.0), partial(scaled, by=4.0), Sized(1), Sized(2), Sized(1).make, Sized(2).make,
        Sized.build, Larger.build, keyword(4), keyword(8), local_class(4), local_class(8), recursive(4), recursive(8),
        torch.relu, torch.tanh, torch.nn.Linear, partial(torch.nn.Linear, 3, 4), partial(torch.nn.Linear, 4, 3),
        partial(torch.nn.Linear, 4, out_features=3), torch.nn.CrossEntropyLoss(reduction="none"),
        torch.nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1), membership, lru_cache(scaled),
        lru_cache(keyword(1)), lru_cache(keyword(2)), wrapped(keyword(1)), wrapped(keyword(2)), Wrapper(keyword(1)),
        Wrapper(keyword(2)), torch.no_grad()(keyword(1)), torch.no_grad()(keyword(2)), np.vectorize(scaled),
        np.vectorize(keyword(2)), torch.func.vmap(scaled), torch.func.vmap(keyword(2)), np.exp, np.log,
        np.random.default_rng(0).normal, np.random.default_rng(1).normal, [1].append, [2].append, torch.ones(1).add,
        torch.zeros(1).add, isolate_rng()(keyword(1)), isolate_rng()(keyword(2)), nn.CrossEntropyLoss(torch.ones(2)),
        nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])), linear(1.0), linear(2.0), wrapped(wrapped(keyword(1))),
    ]  # fmt: skip
    prints = [str(fingerprint(function, "x")) for function in functions]
    assert len(set(prints)) == len(prints)
    assert [str(fingerprint(function, "x")) for function in functions] == prints


VALUES_ALIKE: list[Callable[[], Any]] = [
    lambda: 1, lambda: True, lambda: 1.0, lambda: "1", lambda: b"1", lambda: 1j, lambda: None, lambda: 0.0,
    lambda: -0.0, lambda: float("nan"), lambda: float("inf"), lambda: (1,), lambda: [1], lambda: {1}, lambda: {1: 1},
    lambda: {"1": 1}, lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}, lambda: [[1], 2], lambda: [1, [2]],
    lambda: np.ones(2), lambda: np.zeros(2), lambda: np.ones(2, np.float32), lambda: np.ones((2, 1)),
    lambda: np.ones((1, 2)), lambda: np.float64(1), lambda: np.float32(1), lambda: np.array(1.0),
    lambda: np.array(["1"]),
    lambda: np.array([1, "a", None], object), lambda: np.array([1, "b", None], object), lambda: masked(True),
    lambda: masked(False), lambda: np.array([(1, 2.0)], "i4,f8"), lambda: np.array([(1, 3.0)], "i4,f8"),
    lambda: torch.ones(2), lambda: torch.zeros(2), lambda: torch.ones(2, dtype=torch.float64),
    lambda: torch.ones(2, dtype=torch.bfloat16), lambda: torch.ones(2, dtype=torch.cfloat), lambda: torch.ones(2, 1),
    lambda: torch.ones(2, requires_grad=True), lambda: torch.eye(2).to_sparse(),
    lambda: torch.zeros(0), lambda: torch.zeros(0, 2), lambda: torch.tensor(1.0), lambda: torch.float32,
    lambda: torch.float64, lambda: torch.device("cpu"), lambda: torch.device("meta"), lambda: torch.Size([1]),
    lambda: nn.Parameter(torch.ones(3)), lambda: nn.Sequential(linear(1.0)), lambda: nn.Sequential(linear(2.0)),
    lambda: linear(1.0).eval(), lambda: Colour.RED, lambda: Colour.BLUE, lambda: Point(), lambda: Point(x=1.0),
    lambda: Point(cells=[1]), lambda: Pair(1, 2), lambda: (1, 2), lambda: Pair(2, 1), lambda: Numbers([1]),
    lambda: Numbers([2]), lambda: deque([1]), lambda: deque([2]), lambda: deque([1], maxlen=3), lambda: Counter("a"),
    lambda: OrderedDict(a=1), lambda: defaultdict(int), lambda: defaultdict(list), lambda: Path("a"), lambda: Path("b"),
    lambda: date(2020, 1, 1), lambda: date(2020, 1, 2), lambda: Fraction(1, 2), lambda: Decimal("0.5"),
    lambda: range(2),
    lambda: range(3), lambda: slice(1), lambda: re.compile("a"), lambda: re.compile("b"), lambda: re.compile("a", re.I),
    lambda: np.random.default_rng(0), lambda: np.random.default_rng(1), lambda: random.Random(0), lambda: int,
    lambda: list[int], lambda: Namespace(a=1), lambda: Namespace(a=2), lambda: operator.itemgetter(1),
    lambda: operator.itemgetter(2), lambda: np.dtype("f4"),
    lambda: SGD(learning_rate=0.1), lambda: SGD(learning_rate=1),
    lambda: Arrays(np.zeros((2, 1)), np.zeros(2)), lambda: Arrays(np.ones((2, 1)), np.zeros(2)), lambda: object(),
]  # fmt: skip


def test_each_kind_of_value_counts_by_content() -> None:
    """In a closure, an argument of a partial, a default and a global value; equal when it is made again."""
    prints: list[str] = []
    for make in VALUES_ALIKE:
        ways = [fingerprint(holding(make()), "x"), fingerprint(partial(scaled, make()), "x")]
        again = [fingerprint(holding(make()), "x"), fingerprint(partial(scaled, make()), "x")]
        assert ways == again, make()
        prints.append(str(ways))
    same = [(i, k) for k in range(len(prints)) for i in range(k) if prints[i] == prints[k]]
    assert not same


def test_a_value_that_holds_itself_is_read_once() -> None:
    cells: list[Any] = [1]
    cells.append(cells)
    point = Point()
    point.cells = [point]  # type: ignore[list-item]
    assert fingerprint(holding(cells), "x") == fingerprint(holding(cells), "x")
    assert fingerprint(holding(point), "x") != fingerprint(holding(Point()), "x")


def test_what_a_function_is_does_not_depend_on_the_process() -> None:
    code = (
        "from tests.test_fingerprint_values import *; import random; "
        "makes = VALUES_ALIKE + [lambda: random.random, lambda: np.random.normal]; "
        "print([fingerprint(holding(make()), 'x') for make in makes], fingerprint(membership, 'x'))"
    )
    prints = set()
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        run = [sys.executable, "-c", code]
        prints.add(subprocess.run(run, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert len(prints) == 1


def test_a_function_that_torch_wraps_once_an_optimizer_was_made_is_the_same_function() -> None:
    plain = torch.random.manual_seed
    prints = [fingerprint(holding([function, scaled, scaled]), "x") for function in (plain, _disable_dynamo(plain))]
    assert prints[0] == prints[1]


def test_the_address_by_which_torch_knows_what_it_wraps_does_not_count() -> None:
    """torch.compile keeps it in an attribute of functions; it is another one in each process."""
    prints = []
    for address in (1, 2):

        def known() -> int:
            return 1

        vars(known)["_torchdynamo_wrapper_id"] = address
        prints.append(fingerprint(known, "x"))
    assert prints[0] == prints[1]


@pytest.mark.parametrize(
    "unreadable", [Lock(), (number for number in range(0)), sys.stdout, sqlite3.connect(":memory:")]
)
def test_what_cannot_be_read_is_named(unreadable: Any) -> None:
    for function in (partial(scaled, unreadable), holding(unreadable), holding([{"a": unreadable}])):
        with pytest.raises(InputError, match=r"network holds <.*whose content cannot be read for the store's key; use"):
            fingerprint(function, "network")


SETTINGS: Any = None


def reads_settings() -> Any:
    return SETTINGS


def linear_with_a_lock(number: float) -> nn.Module:
    module = nn.Linear(1, 1)
    nn.init.constant_(module.weight, number)
    nn.init.zeros_(module.bias)
    vars(module)["lock"] = Lock()
    return module


def in_a_context(number: float) -> ContextVar[float]:
    variable: ContextVar[float] = ContextVar("variable")
    variable.set(number)
    return variable


def of_this_thread(number: float) -> local:
    held = local()
    held.number = number
    return held


def assert_settings_count(
    reads: Callable[..., Any], make: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal settings give what reads them one fingerprint, and others give it another one."""
    contents = []
    for number in (1.0, 1.0, 7.0):
        monkeypatch.setattr(sys.modules[__name__], "SETTINGS", make(number))
        contents.append(fingerprint(reads, "f"))
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


@pytest.mark.parametrize(
    "make",
    [
        lambda number: Namespace(number=number, lock=Lock()),
        lambda number: SimpleNamespace(number=number, lock=Lock()),
        lambda number: OrderedDict(number=number, lock=Lock()),
        lambda number: defaultdict(list, number=number, lock=Lock()),
        lambda number: deque([number, Lock()]),
        lambda number: Namespace(inner=SimpleNamespace(number=number), lock=Lock()),
        linear_with_a_lock,
        in_a_context,
        of_this_thread,
    ],
)
def test_what_can_be_read_of_a_global_counts_though_a_part_cannot(
    make: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_settings_count(reads_settings, make, monkeypatch)


def reads_two_attributes() -> Any:
    return SETTINGS.number, SETTINGS.text


def calls_and_configures(inputs: Any) -> Any:
    SETTINGS.eval()
    SETTINGS.requires_grad_(False)
    return SETTINGS(inputs)


@dataclass
class Settings:
    number: float
    text: str = "t"


@pytest.mark.parametrize(
    ("reads", "make"),
    [
        (reads_two_attributes, lambda number: SimpleNamespace(number=number, text="t")),
        (reads_two_attributes, lambda number: Namespace(number=number, text="t")),
        (reads_two_attributes, Settings),
        (calls_and_configures, linear),
        (calls_and_configures, lambda number: nn.Sequential(linear(number), nn.Tanh())),
    ],
    ids=["SimpleNamespace", "Namespace", "dataclass", "module", "modules"],
)
def test_an_object_counts_of_which_code_reads_several_attributes(
    reads: Callable[..., Any], make: Callable[[float], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attribute's chain of names begins with the object's."""
    assert_settings_count(reads, make, monkeypatch)


def test_a_function_of_no_module_is_read() -> None:
    def of(number: float) -> Any:
        names: dict[str, Any] = {}
        exec(f"held = [{number}]\ndef scaled(x): return x * held[0]", names)
        return fingerprint(names["scaled"], "f")

    assert of(1.0) == of(1.0) != of(7.0)


def test_a_namespace_that_holds_itself_and_a_lock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Namespace(lock=Lock())
    held.itself = held
    monkeypatch.setattr(sys.modules[__name__], "SETTINGS", held)
    assert fingerprint(reads_settings, "f") == fingerprint(reads_settings, "f")


def test_arguments_of_a_partial_method_count() -> None:
    def of(number: float) -> Any:
        class Scaled:
            def scale(self, by: float) -> float:
                return by

            scaled = partialmethod(scale, number)

        return fingerprint(lambda: Scaled().scaled(), "f")

    assert of(1.0) == of(1.0) != of(7.0)
