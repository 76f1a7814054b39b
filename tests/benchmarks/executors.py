"""What Ray costs over this process: by the block for many short ones, and side by side for long ones.

python tests/benchmarks/executors.py [--short 1000] [--blocks 4] [--runs 5]
"""

import argparse
import resource
import statistics
import time
from contextlib import closing

from lossact import SGD, CNNConfig, Condition, Executor, Experiment, FunctionCondition, LineImages, RayExecutor, Store
from lossact.executors import LocalExecutor
from lossact.storage.trials import Curves
from lossact.training.compute_config import ComputeConfig

THREADS = 2
LONG = Condition(
    network=CNNConfig(activation="relu"),
    loss="cross_entropy",
    optimizer=SGD(learning_rate=1e-5),  # nobody arrives: every block takes the whole budget
    data=LineImages(n_images=64),
    budget=250,
)


def train_nothing(seed: int) -> int:
    return 1


SHORT = FunctionCondition(train=train_nothing, budget=10)


def seconds(executor: Executor, condition: Condition | FunctionCondition, blocks: int, seed: int) -> float:
    """How long so many blocks take, stored."""
    with Store(None) as store:
        experiment = Experiment(
            store=store, executor=executor, compute_config=ComputeConfig(threads=THREADS), seed=seed
        )
        begin = time.perf_counter()
        experiment.trials([condition], blocks * condition.block)
        return time.perf_counter() - begin


def store_seconds(blocks: int) -> float:
    """How long the store takes for a block of the long kind."""
    with Store(None) as store:
        experiment = Experiment(store=store, compute_config=ComputeConfig(threads=THREADS))
        (trials,) = experiment.trials([LONG], LONG.block)
        curves = experiment.curves(LONG)
        assert curves is not None
        begin = time.perf_counter()
        for block in range(blocks):
            kept = curves if block < 16 else Curves.empty(LONG.budget)
            store.add("k" * 64, {"of": "benchmark"}, block * LONG.block, trials, kept)
        return (time.perf_counter() - begin) / blocks


def peak_memory() -> float:
    """The most that this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show_short(ray: Executor, blocks: int) -> None:
    """Time many empty blocks: what remains is the overhead per block."""
    memory, cpu = peak_memory(), time.process_time()
    total = seconds(ray, SHORT, blocks, blocks)
    cpu_seconds = time.process_time() - cpu
    print(
        f"{blocks} short blocks: {1e3 * total / blocks:.2f} ms each, of which this process computes "
        f"{1e3 * cpu_seconds / blocks:.2f} ms; its peak grew from {memory:.1f} by {peak_memory() - memory:.1f} MiB",
        flush=True,
    )


def show_long(ray: Executor, blocks: int, runs: int) -> None:
    """Blocks of some seconds, local and on Ray in turn."""
    executors: dict[str, Executor] = {"local": LocalExecutor(), "ray": ray}
    timings: dict[str, list[float]] = {name: [seconds(executor, LONG, 1, 0)] for name, executor in executors.items()}
    for run in range(1, runs + 1):
        for name in sorted(executors, reverse=run % 2 == 0):
            timings[name].append(seconds(executors[name], LONG, blocks, run))
    local, there = timings["local"][1:], timings["ray"][1:]
    ratios = [b / a for a, b in zip(local, there, strict=True)]
    print(
        f"blocks of {statistics.median(local) / blocks:.1f} s, {blocks} a run: local {statistics.median(local):.1f} s, "
        f"Ray {statistics.median(there):.1f} s; ratio by pairs {statistics.median(ratios):.3f} "
        f"({', '.join(f'{ratio:.3f}' for ratio in ratios)})",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", type=int, default=1000, help="short blocks (default: 1,000)")
    parser.add_argument("--blocks", type=int, default=4, help="long blocks a run (default: 4)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, interleaved (default: 5)")
    given = parser.parse_args()
    with closing(RayExecutor()) as ray:
        begin = time.perf_counter()
        seconds(ray, SHORT, 1, 0)
        print(f"Ray starts, and its first block is done, in {time.perf_counter() - begin:.1f} s", flush=True)
        for blocks in (given.short // 10, given.short, 10 * given.short):
            show_short(ray, blocks)
        show_long(ray, given.blocks, given.runs)
    print(f"the store takes {1e3 * store_seconds(200):.2f} ms for a block of {LONG.block} trials")


if __name__ == "__main__":
    main()
