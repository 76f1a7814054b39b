"""Replica-steps a second of lossact and of what else one could use, interleaved in one run.

    python tests/benchmarks/throughput.py --json throughput.json
    python tests/benchmarks/throughput.py --networks
    python tests/benchmarks/throughput.py --device cuda --repeats 2 --seconds 240

A replica-step is one forward, backward and update of one network on its whole batch (64 images; 128 examples for users'
networks). Everything is warmed up first (compilers included, reported apart), then all engines of a workload run in
turn, several times; medians count.
"""

import argparse
import json
import logging
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lossact import SGD, CNNConfig, Condition, ImageFiles, LineImages, Loss, MLPConfig, RandomImages
from lossact.models import CNN, MLP
from lossact.replicas.random_streams import DATA, replica_generator
from lossact.running.runner import fit, launch_width
from lossact.running.stacking import stacked_training
from lossact.training.compute_config import Compiled, ComputeConfig

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks import jax_networks, networks, peers

# Enough that starting a Trainer does not count, few enough for five repeats.
UPDATES = {
    "cpu": {"Small": 400, "Dropping": 400, "Digits": 60, "Tiny": 20, "ResNetish": 10},
    "cuda": {"Small": 10_000, "Dropping": 10_000, "Digits": 10_000, "Tiny": 3_000, "ResNetish": 100},
}
FEW = 300  # where Python starts each operation on a GPU
NEVER = Loss().at_most(-1.0)  # nobody rests
THREADS = torch.get_num_threads()
# Multiplications and additions of one replica-step: forward, gradients of the weights, of the hidden layer.
MLP_FLOP = 2 * 64 * (2 * (16 * 4 + 4) + 4)
CNN_FLOP = 2 * 64 * (2 * 49 * 16 * 100 + 3 * 784 * 8 * 16 + 3 * 128)


@dataclass(frozen=True)
class Engine:
    """One contender: `run` gives seconds a replica-step over as many updates as are asked for."""

    name: str
    replicas: int
    run: Callable[[int], float]
    updates: int


def mlp_condition(data: RandomImages | ImageFiles) -> Condition:
    return Condition(
        network=MLPConfig(activation="sigmoid"), loss="l2", data=data, budget=1000, target=NEVER,
        optimizer=SGD(learning_rate=0.1, momentum=0.99, weight_decay=5e-4),
    )  # fmt: skip


CNN_CONDITION = Condition(
    network=CNNConfig(activation="relu"), loss="cross_entropy", data=LineImages(), budget=1000, target=NEVER,
    optimizer=SGD(learning_rate=0.01, momentum=0.99, weight_decay=5e-4),
)  # fmt: skip


def lossact(condition: Condition, replicas: int, compiled: Compiled, updates: int, *, device: str = "cpu") -> float:
    """Through the Trainer, launch by launch, every replica training to the end of its budget."""
    compute_config = ComputeConfig(device=device, threads=THREADS, compiled=compiled)
    condition = replace(condition, budget=updates)
    at_once = min(replicas, condition.block * launch_width(condition, compute_config))
    seconds = 0.0
    for first in range(0, replicas, at_once):
        module = stacked_training(condition, 0, range(first, first + at_once), compute_config, logs=False)
        begin = time.perf_counter()
        fit(module, compute_config)
        seconds += time.perf_counter() - begin
    return seconds / (replicas * updates)


def data_of(condition: Condition, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    sets = [condition.data.sample(replica_generator(0, r, DATA)) for r in range(n)]
    images, labels = (np.stack([getattr(dataset, name) for dataset in sets]) for name in ("inputs", "targets"))
    return torch.from_numpy(images).float(), torch.from_numpy(labels).float()


def mlp_engines(condition: Condition, n: int) -> list[Engine]:
    x, y = data_of(condition, n if condition.data.per_replica else 1)
    make: Callable[[], nn.Module] = partial(MLP, MLPConfig(activation="sigmoid"), (4, 4))
    updates = min(1000, 2_048_000 // n)
    engines = [
        Engine("lossact", n, partial(lossact, condition, n, "auto"), updates),
        Engine("lossact, eager", n, partial(lossact, condition, n, False), max(20, updates // 5)),
        Engine("torch.func.vmap", n, lambda u: peers.torch_vmap(make, "l2", 0.1, x, y, n, u), 20),
    ]
    if peers.HAS_JAX:
        for last in (False, True):
            run = peers.jax_mlp(x, y, n, last=last)
            engines.append(Engine(f"JAX jit(vmap(scan)), replicas {'last' if last else 'first'}", n, run, updates))
    if n == 512:
        engines.append(Engine("Trainer, one at a time", 1, lambda u: peers.trainer_loop(make, "l2", 0.1, x, y, u), 200))
        engines.append(
            Engine("torch loop, one at a time", 1, lambda u: peers.torch_loop(make, "l2", 0.1, x, y, u), 500)
        )
    return engines


def cnn_engines(n: int) -> list[Engine]:
    x, y = data_of(CNN_CONDITION, n)
    make: Callable[[], nn.Module] = partial(CNN, CNNConfig(activation="relu"), (16, 16))
    engines = [
        Engine("lossact", n, partial(lossact, CNN_CONDITION, n, "auto"), 50),
        Engine("lossact, eager", n, partial(lossact, CNN_CONDITION, n, False), 20),
    ]
    if peers.HAS_JAX:
        engines.append(Engine("JAX jit(vmap(scan)), replicas first", n, peers.jax_cnn(x, y, n), 2))
    if n == 16:
        ce = "cross_entropy"
        engines += [
            Engine("torch.func.vmap", n, lambda u: peers.torch_vmap(make, ce, 0.01, x, y, n, u), 3),
            Engine("Trainer, one at a time", 1, lambda u: peers.trainer_loop(make, ce, 0.01, x, y, u), 50),
            Engine("torch loop, one at a time", 1, lambda u: peers.torch_loop(make, ce, 0.01, x, y, u), 50),
        ]
    return engines


def network_engines(name: str, n: int, device: str) -> list[Engine]:
    """Engines for a user's network."""
    updates = UPDATES[device][name]
    few = updates if device == "cpu" else min(updates, FEW)
    engines = [
        Engine("lossact", n, partial(networks.by_lossact, name, n, device), updates),
        Engine("lossact, compiled", n, partial(networks.by_lossact, name, n, device, compiled=True), updates),
        Engine("torch.func.vmap", n, partial(networks.by_vmap, name, n, device), few),
        Engine("torch.func.vmap, compiled", n, partial(networks.by_vmap, name, n, device, compiled=True), few),
        Engine("torch loop, one at a time", 1, partial(networks.one_at_a_time, name, device), few),
    ]
    if peers.jax_is_on(device) and not (
        device == "cpu" and name == "ResNetish"
    ):  # whose convolutions take minutes there
        run = jax_networks.run_in_jax(name, n)
        engines.append(Engine("JAX jit(vmap(scan)), replicas first", n, run, updates))
    if device == "cuda":
        graph = partial(networks.by_vmap, name, n, device, graph=True)
        engines += [
            Engine("torch.func.vmap, CUDA graph", n, graph, updates),
            Engine("torch.func.vmap, compiled, CUDA graph", n, partial(graph, compiled=True), updates),
            Engine(
                "torch loop, one at a time, CUDA graph", 1,
                partial(networks.one_at_a_time, name, device, graph=True), updates,
            ),
        ]  # fmt: skip
    return engines


def built_in_engines(condition: Condition, n: int, updates: int, device: str) -> list[Engine]:
    """lossact's built-in networks on a device, eager and compiled, beside JAX on that device."""
    engines = [
        Engine(label, n, partial(lossact, condition, n, compiled, device=device), updates)
        for label, compiled in (("lossact", False), ("lossact, compiled", True))
    ]
    if peers.jax_is_on(device):
        examples = data_of(condition, n)
        if isinstance(condition.network, CNNConfig):
            runs = {"replicas first": peers.jax_cnn(*examples, n)}
        else:
            runs = {f"replicas {at}": peers.jax_mlp(*examples, n, last=at == "last") for at in ("first", "last")}
        engines += [Engine(f"JAX jit(vmap(scan)), {at}", n, run, updates) for at, run in runs.items()]
    return engines


BUILT_IN_ON_CUDA = [
    *(("MLP, data per replica", mlp_condition(RandomImages()), n, 10_000) for n in (512, 4096)),
    ("MLP, data per replica", mlp_condition(RandomImages()), 32768, 2_000),
    *(("CNN, data per replica", CNN_CONDITION, n, 40) for n in (16, 256, 1024)),
]


def matrix_product_rate() -> float:
    """FLOP/s of a large float32 matrix product on this machine, now."""
    a = torch.randn(2048, 2048)
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        torch.mm(a, a)
        seconds.append(time.perf_counter() - begin)
    return 2 * 2048**3 / statistics.median(seconds)


def measure(workload: str, engines: list[Engine], flop: int | None, repeats: int) -> list[dict[str, float | str | int]]:
    """Rows for one workload, and a line of text for each; without `flop` rates are not held against the machine's."""
    first: list[float] = []
    for engine in engines:
        begin = time.perf_counter()
        engine.run(engine.updates)
        first.append(time.perf_counter() - begin)
    seconds: list[list[float]] = [[] for _ in engines]
    rates: list[float] = []
    for _ in range(repeats):
        if flop is not None:
            rates.append(matrix_product_rate())
        for engine, each in zip(engines, seconds, strict=True):
            each.append(engine.run(engine.updates))
    rows: list[dict[str, float | str | int]] = []
    medians = [statistics.median(each) for each in seconds]
    fastest = min(m for m, e in zip(medians, engines, strict=True) if e.name.startswith("lossact"))
    for engine, median, begin in zip(engines, medians, first, strict=True):
        row: dict[str, float | str | int] = {
            "workload": workload,
            "engine": engine.name,
            "replicas": engine.replicas,
            "replica_steps_per_second": 1 / median,
            "first_call_seconds": begin,
        }
        line = f"{workload:22} {engine.name:38} {engine.replicas:5}"
        line += f" {1 / median:12,.0f}/s  lossact x{median / fastest:6.2f}"
        if flop is not None:
            row["matrix_product_share"] = flop / median / statistics.median(rates)
            line += f"  {flop / median / 1e9:7.2f} GFLOP/s  {row['matrix_product_share']:4.0%}"
        print(f"{line}  first {begin:5.1f} s", flush=True)
        rows.append(row)
    return rows


def main() -> None:
    """Run all workloads and report medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats (default: 5)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no workload after so many")
    parser.add_argument("--replicas", type=int, nargs="*", default=[64, 512, 2048, 4096], help="of the MLP")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute (default: cpu)")
    parser.add_argument(
        "--networks", nargs="*", choices=list(networks.NETWORKS), metavar="NAME",
        help=f"users' networks alone, beside plain torch: {', '.join(networks.NETWORKS)} (default: all of them)",
    )  # fmt: skip
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if not peers.jax_is_on(arguments.device):
        print("JAX is not installed, or not for this device; its engines are left out")
    rows: list[dict[str, float | str | int]] = []
    begin = time.perf_counter()
    for name, flop, engines in workloads(arguments):
        if time.perf_counter() - begin > arguments.seconds:
            print(f"{name}: no time left")
            continue
        rows += measure(name, engines(), flop, arguments.repeats)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def workloads(arguments: argparse.Namespace) -> Iterator[tuple[str, int | None, Callable[[], list[Engine]]]]:
    """Yield what is to be measured: a name, the arithmetic of a replica-step, and the engines, not made yet."""
    device = arguments.device
    if device == "cuda" and arguments.networks is None:
        for name, condition, n, updates in BUILT_IN_ON_CUDA:
            yield name, None, partial(built_in_engines, condition, n, updates, device)
    if device == "cuda" or arguments.networks is not None:
        for name in arguments.networks or networks.NETWORKS:
            _, _, sizes = networks.NETWORKS[name]
            for n in sizes[device]:
                yield name, None, partial(network_engines, name, n, device)
        return
    shared = mlp_condition(one_data_set())
    for n in arguments.replicas:
        yield "MLP, data per replica", MLP_FLOP, partial(mlp_engines, mlp_condition(RandomImages()), n)
        yield "MLP, one data set", MLP_FLOP, partial(mlp_engines, shared, n)
    for n in (16, 64):
        yield "CNN, data per replica", CNN_FLOP, partial(cnn_engines, n)


def one_data_set() -> ImageFiles:
    """A random set, fixed by way of files."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="lossact-benchmark-"))
    dataset = RandomImages().sample(replica_generator(0, 0, DATA))
    for name, array in (("random_imgs", dataset.inputs), ("random_labs", dataset.targets)):
        np.save(folder / f"{name}.npy", array)
    return ImageFiles.in_directory(folder, "random")


if __name__ == "__main__":
    main()
