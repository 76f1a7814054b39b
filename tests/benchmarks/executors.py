"""What Ray costs over this process: side by side for long blocks, and by the block for many short ones.

python tests/benchmarks/executors.py [--blocks 4] [--short 1000]
"""

import argparse
import resource
import statistics
import time
from contextlib import closing

from lossact import SGD, CNNConfig, Condition, Executor, Experiment, FunctionCondition, LineImages, RayExecutor, Store
from lossact.experiment import LocalExecutor
from lossact.experiment.key import Setting
from lossact.experiment.trials import Curves

THREADS = 2
LONG = Condition(
    network=CNNConfig(activation="relu"),
    loss="cross_entropy",
    optimizer=SGD(learning_rate=1e-5),  # nobody arrives: every block takes the whole budget
    data=LineImages(n_images=64),
    budget=500,
)


def one(seed: int) -> int:
    return 1


SHORT = FunctionCondition(train=one, budget=10)


def seconds(executor: Executor, condition: Condition | FunctionCondition, blocks: int, seed: int) -> float:
    """How long so many blocks take, stored."""
    with Store(None) as store:
        experiment = Experiment(store=store, executor=executor, setting=Setting(threads=THREADS), seed=seed)
        begin = time.perf_counter()
        experiment.trials([condition], blocks * condition.block)
        return time.perf_counter() - begin


def store_seconds(blocks: int) -> float:
    """How long the store takes for a block of the long kind."""
    with Store(None) as store:
        experiment = Experiment(store=store, setting=Setting(threads=THREADS))
        (trials,) = experiment.trials([LONG], LONG.block)
        curves = experiment.curves(LONG)
        assert curves is not None
        content = {"of": "benchmark"}
        begin = time.perf_counter()
        for block in range(blocks):
            store.add(
                "k" * 64, content, block * LONG.block, trials, Curves.empty(LONG.budget) if block > 15 else curves
            )
        return (time.perf_counter() - begin) / blocks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=4, help="long blocks a run (default: 4)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, interleaved (default: 3)")
    parser.add_argument("--short", type=int, default=1000, help="short blocks (default: 1,000)")
    given = parser.parse_args()
    local = LocalExecutor()
    with closing(RayExecutor()) as ray:
        begin = time.perf_counter()
        seconds(ray, SHORT, 1, 0)
        print(f"Ray starts, and its first block is done, in {time.perf_counter() - begin:.1f} s")
        seconds(ray, LONG, 1, 0)
        seconds(local, LONG, 1, 0)
        found: dict[str, list[float]] = {"local": [], "ray": []}
        for run in range(given.runs):
            found["local"].append(seconds(local, LONG, given.blocks, run + 1))
            found["ray"].append(seconds(ray, LONG, given.blocks, run + 1))
        here, there = (statistics.median(found[name]) for name in ("local", "ray"))
        print(
            f"blocks of {here / given.blocks:.1f} s: local {here:.1f} s, Ray {there:.1f} s for {given.blocks}; "
            f"ratio {there / here:.3f} ({', '.join(f'{b / a:.3f}' for a, b in zip(*found.values(), strict=True))})"
        )
        for blocks in (given.short // 10, given.short):
            memory, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            total = seconds(ray, SHORT, blocks, blocks)
            print(
                f"{blocks} short blocks: {1e3 * total / blocks:.2f} ms each, of which this process computes "
                f"{1e3 * (time.process_time() - cpu) / blocks:.2f} ms; its memory grew by "
                f"{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024:.1f} MiB"
            )
    print(f"the store takes {1e3 * store_seconds(200):.2f} ms for a block of {LONG.block} trials")


if __name__ == "__main__":
    main()
