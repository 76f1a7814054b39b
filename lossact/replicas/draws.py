"""What replicas draw in their passes, by a counter: experiment seed, replica, stage, batch, module path, call number.

A number's place decides its value, so that a replica draws the same alone, among others, stacked, or on other threads.
In a test, for example: `with CountedDraws(moment, replica, module_paths(network)).active(): network(inputs)`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from lossact.errors import InputError
from lossact.replicas.draws_functions import COMPOSED, DRAWING
from lossact.replicas.draws_operator import draw
from lossact.replicas.draws_philox import signed
from lossact.replicas.random_streams import DRAWS, RNGState, isolate_rng, rng_state, seed_rng, set_rng_state

COMPLEX = {torch.complex64: torch.float32, torch.complex128: torch.float64}


class SharedDrawError(InputError):
    """A pass draws what stacked replicas would share."""


@dataclass(frozen=True)
class Moment:
    """When something is drawn.

    Attributes:
        seed: the experiment's, >= 0.
        stage: what the pass is for, in [0, 128).
        batch: index of the batch within the stage, in [0, 2^56); a () int64 tensor where passes are recorded.
    """

    seed: int
    stage: int
    batch: int | Tensor


def module_paths(module: nn.Module) -> dict[int, str]:
    """Return the path of each part by its identity; of a part that is held twice, the first."""
    paths: dict[int, str] = {}
    for path, part in module.named_modules():
        paths.setdefault(id(part), path)
    return paths


class CountedDraws:
    """What one pass of one replica draws.

    A draw's call number counts the draws of its module in the pass. What torch cannot be asked about, such as numpy's
    generators, draws as always.

    Args:
        moment: when the pass runs.
        replica: () int64 index of the replica. Under vmap make this object inside the function that is mapped, with the
            replica's index among its arguments.
        paths: of the module that runs, as `module_paths` returns them.
        repeatable: whether draws that a checkpoint recomputes in a plain pass are those of the first time. A checkpoint
            puts the process's generator back, from which each draw then takes a number to be known by.
    """

    def __init__(self, moment: Moment, replica: Tensor, paths: Mapping[int, str], *, repeatable: bool = True) -> None:
        self._mode = _DrawingMode(moment, replica, repeatable=repeatable)
        self._paths = paths

    @property
    def any(self) -> bool:
        """Whether something was drawn."""
        return bool(self._mode.calls)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have torch's drawing functions draw by the counter within; a pass may be entered again, for its backward."""
        mode = self._mode
        outer_paths: list[str] = []

        def enter(module: nn.Module, _: Any) -> None:
            outer_paths.append(mode.path)
            mode.path = self._paths.get(id(module), mode.path)

        def leave(*_: Any) -> None:
            mode.path = outer_paths.pop()

        handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)
        try:
            with mode:
                yield
        finally:
            for handle in handles:
                handle.remove()


class PlainPass:
    """The random numbers of a pass that is not stacked: torch's by the counter, all others' by its moment as well.

    Args:
        moment: when the pass runs.
        replica: index of the replica.
        paths: of the module that runs.
    """

    def __init__(self, moment: Moment, replica: int, paths: Mapping[int, str]) -> None:
        self._draws = CountedDraws(moment, torch.tensor(replica), paths)
        text = f"{moment.seed}/{moment.stage}/{moment.batch}/{replica}".encode()
        self._seed = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1
        self._began: RNGState | None = None
        self._state: RNGState | None = None

    @property
    def draws(self) -> bool:
        """Whether something was drawn by the counter; else its backward draws nothing either."""
        return self._draws.any

    @property
    def draws_nothing(self) -> bool:
        """Whether nothing was drawn, by the counter or from the generators of the process."""
        return (
            not self._draws.any
            and self._began is not None
            and self._state is not None
            and (self._began.equals(self._state))
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        """Draw for the pass within; the generators of the process go on afterwards as if nothing had been drawn."""
        with isolate_rng():
            if self._state is None:
                seed_rng(self._seed)
                self._began = rng_state()
            else:
                set_rng_state(self._state)
            with self._draws.active():
                yield
            self._state = rng_state()


class _DrawingMode(TorchFunctionMode):
    def __init__(self, moment: Moment, replica: Tensor, *, repeatable: bool) -> None:
        super().__init__()
        self.replica, self.repeatable = replica, repeatable
        self.path = ""
        self.key = [signed(word) for word in _key(moment.seed)]
        self.stage_word, self.batch = moment.stage << 56, moment.batch
        self.calls: Counter[str] = Counter()
        self.call_of_ticket: dict[tuple[str, int], int] = {}
        self.levels = _vmap_levels()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        composed = COMPOSED.get(func)
        if composed is not None:
            with self:
                return composed(*args, **named)
        drawing = DRAWING.get(func)
        if drawing is None or (named.get("generator") is not None and not self.levels):
            return func(*args, **named)
        if named.get("generator") is not None:
            raise SharedDrawError(
                "network draws from a torch.Generator that it holds, which stacked replicas would share; leave "
                "generator= out"
            )
        if "out" in named:
            return named["out"].copy_(drawing(self, *args, **{k: v for k, v in named.items() if k != "out"}))
        return drawing(self, *args, **named)

    def draw(
        self,
        kind: str,
        shape: Sequence[int],
        *,
        dtype: torch.dtype | None = None,
        device: Any = None,
        number: float = 0.0,
    ) -> Tensor:
        if _vmap_levels() != self.levels:
            raise SharedDrawError(
                "network draws within a torch.func.vmap that it calls; draw before it, and hand the numbers in"
            )
        dtype = dtype or torch.get_default_dtype()
        shape = list(shape)
        if dtype in COMPLEX:
            parts = self.draw(kind, [*shape, 2], dtype=COMPLEX[dtype], device=device, number=number)
            return torch.view_as_complex(parts).mul(0.5**0.5)
        replica = self.replica.to(device or torch.get_default_device())
        in_tensor = self.batch if isinstance(self.batch, Tensor) else None
        stream = [self._address(), self.stage_word | (0 if isinstance(self.batch, Tensor) else self.batch)]
        computed = dtype if dtype == torch.float64 else torch.float32
        numbers: Tensor = draw(replica, self.key, stream, shape, kind, float(number), computed, in_tensor)
        return numbers.to(dtype)

    def of_replica(self, tensor: Tensor) -> Tensor:
        """Return a tensor as it is, or under vmap a copy that is mapped over."""
        if not self.levels or tensor.is_meta:
            return tensor
        return self.replica.to(tensor).expand(tensor.shape).clone()

    def _address(self) -> int:
        """Return the word that stands for the module's path and the call's number."""
        text = f"{self.path}\0{self._call_number()}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)

    def _call_number(self) -> int:
        if self.levels or not self.repeatable:
            self.calls[self.path] += 1
            return self.calls[self.path]
        ticket = int(torch.empty((), dtype=torch.int64).random_())
        known = self.call_of_ticket.get((self.path, ticket))
        if known is None:
            self.calls[self.path] += 1
            known = self.call_of_ticket[self.path, ticket] = self.calls[self.path]
        return known


@lru_cache(maxsize=64)
def _key(seed: int) -> tuple[int, int]:
    first, second = np.random.SeedSequence((DRAWS, seed)).generate_state(2, np.uint64)
    return int(first), int(second)


def _vmap_levels() -> int:
    """Return how many vmaps the code that runs is mapped by."""
    if torch._C._functorch.maybe_current_level() is None:
        return 0
    stack = torch._C._functorch.get_interpreter_stack() or []
    return sum(interpreter.key() == torch._C._functorch.TransformType.Vmap for interpreter in stack)
