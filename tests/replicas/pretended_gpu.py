"""A GPU that is pretended: its tensors keep their numbers on the CPU and may not meet tensors of the CPU.

What waits for a GPU is found, too, and so is what would be frozen in a CUDA graph.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CUDAAccelerator
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only, tree_unflatten

from lossact.replicas import kernels, recordings
from lossact.replicas.recorded import RecordedUpdates
from lossact.training.recorded_steps import RecordedSteps
from lossact.training.stacked import StackedReplicasModule
from lossact.training.stacked_lightning import StackedLightningModule
from tests.replicas.recorder import LOOKS, record_changes

GPU = torch.device("cuda:0")
CARRIER = torch.device("lazy:0")  # what torch's C++ takes it for; a build without CUDA has no guard for its devices
ATEN = torch.ops.aten
MEANS = {ATEN.mean.default: ATEN.sum.default, ATEN.mean.dim: ATEN.sum.dim_IntList}
QUOTIENTS = {ATEN.div.Tensor, ATEN.div.Scalar}
COPIES = {ATEN._to_copy.default, ATEN.copy_.default}


class _Waiting:
    """Whether an operation may wait for the GPU."""

    allowed = True


class OnGPU(Tensor):
    """A tensor of the pretended GPU.

    Attributes:
        numbers: a tensor of the CPU with its numbers.
    """

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "OnGPU":
        made: OnGPU = Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=CARRIER,
        )
        made.numbers = numbers
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        assert isinstance(other, OnGPU)
        Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.numbers = other.numbers

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.numbers.untyped_storage()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copied: Tensor = OnGPU(self.numbers.clone())
            is_parameter = isinstance(self, nn.Parameter)
            memo[id(self)] = nn.Parameter(copied, self.requires_grad) if is_parameter else copied
        made: Tensor = memo[id(self)]
        return made

    def __format__(self, form: str) -> str:
        _wait("format")
        return format(self.numbers, form)

    def tolist(self) -> Any:
        _wait("tolist")
        return self.numbers.tolist()

    def pin_memory(self, device: Any = None) -> Tensor:
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first.")

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnGPU({self.numbers})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})


class _Factories(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Has tensors be made on the pretended GPU where they are asked for there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    there = [value for value in given if isinstance(value, OnGPU)]
    if there and func in LOOKS:
        _wait(func)
    if there and func not in COPIES:
        for value in given:
            if value.ndim and not isinstance(value, OnGPU):
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                    f"{func} of one of shape {tuple(value.shape)}"
                )
    leads_there = bool(there)
    devices = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.device)]
    if devices:
        leads_there = devices[0].type in {GPU.type, CARRIER.type}
        args, kwargs = tree_map_only(torch.device, lambda _: torch.device("cpu"), (args, kwargs))
        if there and not leads_there:
            _wait(func)
    if func is ATEN._pin_memory.default:
        return args[0].clone()
    if func is ATEN.copy_.default:
        leads_there = isinstance(args[0], OnGPU)
        if there and not leads_there:
            _wait(func)
    values, structure = tree_flatten((args, kwargs))
    plain = [value.numbers if isinstance(value, OnGPU) else value for value in values]
    of_numbers = {id(numbers): value for numbers, value in zip(plain, values, strict=True) if isinstance(value, OnGPU)}
    args, kwargs = tree_unflatten(plain, structure)

    def placed(result: Any) -> Any:
        if not isinstance(result, Tensor):
            return result
        return of_numbers.get(id(result), OnGPU(result) if leads_there else result)

    return tree_map(placed, _as_a_gpu_rounds(func, args, kwargs) if there else func(*args, **kwargs))


def _as_a_gpu_rounds(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Divide by a plain number as torch's CUDA kernels do, which multiply by its rounded reciprocal."""
    if func in MEANS:
        total = MEANS[func](*args, **kwargs)
        return total * (1 / torch.tensor(args[0].numel() / max(1, total.numel()), dtype=total.dtype))
    if func in QUOTIENTS and args[0].is_floating_point() and _is_plain(args[1]):
        return args[0] * (1 / torch.as_tensor(args[1], dtype=args[0].dtype))
    return func(*args, **kwargs)


def _is_plain(divisor: Any) -> bool:
    return not isinstance(divisor, Tensor) or not divisor.ndim


def _wait(func: Any) -> None:
    if not _Waiting.allowed:
        raise RuntimeError(f"called a synchronizing CUDA operation: {func}")


class _Accelerator(CUDAAccelerator):
    """The pretended GPU, as Lightning finds it."""

    def setup_device(self, device: torch.device) -> None:
        pass

    def teardown(self) -> None:
        pass

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        return devices

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [GPU]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return "pretended"


class Graphs:
    """Records as CudaGraphs does: on the pretended GPU, and no operation may wait for it.

    Args:
        held: returns the tensors that what is recorded changes.
    """

    made = 0  # recordings

    def __init__(self, held: Callable[[], Sequence[Tensor]]) -> None:
        self.held = held

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        Graphs.made += 1
        with _may_not_wait(GPU):
            replay = record_changes(self.held(), run)

        def replay_there() -> None:
            with _may_not_wait(GPU):
                replay()

        return replay_there


@contextmanager
def _may_not_wait(device: torch.device) -> Iterator[None]:
    _Waiting.allowed = device.type != GPU.type
    try:
        yield
    finally:
        _Waiting.allowed = True


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Graphs]]:
    """Have "cuda" be the pretended GPU; what is recorded there is counted."""
    if torch.cuda.is_available():
        pytest.skip("there is a real GPU, which cannot be pretended; run the tests marked gpu")
    make = Trainer.__init__

    def made(trainer: Trainer, *args: Any, **options: Any) -> None:
        if options.get("accelerator") == "cuda":
            options["accelerator"] = _Accelerator()
        make(trainer, *args, **options)

    def of_population(module: StackedReplicasModule) -> RecordedUpdates | None:
        recorded = recorded_updates(module)
        if recorded is not None:
            recorded.record = Graphs(lambda: module.population.state_tensors)
        return recorded

    def of_module(module: StackedLightningModule) -> RecordedSteps | None:
        recorded = recorded_steps(module)
        if recorded is not None:
            recorded.record = Graphs(lambda: list(module.buffers_by_name.values()))
        return recorded

    recorded_updates, recorded_steps = StackedReplicasModule._recorded_updates, StackedLightningModule._recorded_steps
    monkeypatch.setattr(StackedReplicasModule, "_recorded_updates", of_population)
    monkeypatch.setattr(StackedLightningModule, "_recorded_steps", of_module)
    monkeypatch.setattr(recordings.CudaGraphs, "__init__", lambda _: None)
    monkeypatch.setattr(kernels, "has_triton", lambda: False)  # where it is installed it finds no GPU
    monkeypatch.setattr(Trainer, "__init__", made)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(recordings, "without_waiting", _may_not_wait)
    monkeypatch.setattr(Graphs, "made", 0)
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(..., device="cuda") passes by here
    try:
        with _Factories():  # type: ignore[no-untyped-call]
            yield Graphs
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
