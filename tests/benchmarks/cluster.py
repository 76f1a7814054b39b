"""All claims through a Ray cluster of several nodes on this machine, then again while one of them is killed.

Says whether verdicts and trials are those of one process, and what the lost node cost. For that each node has one core;
with more nodes than cores they share them, and what a node costs then says nothing.

python tests/benchmarks/cluster.py [claims/] [--nodes 2] [--kill-after 20]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from ray.cluster_utils import Cluster

from lossact import Store

CORES = 1  # of a node, as far as Ray knows
MOST = 1 << 20  # replicas


def decided(claims: str, name: str, executor: str, address: str = "") -> float:
    """Decide the claims into a store of that name; how long it took."""
    command = [sys.executable, "-m", "pytest", "-q", claims, "--claims-wandb=disabled", f"--claims-executor={executor}"]
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, f"--claims-store={name}", f"--claims-json={name}.json"],
        env=os.environ | {"RAY_ADDRESS": address, "OMP_NUM_THREADS": str(CORES)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    print(f"{name}: {seconds:.0f} s, {done.stdout.splitlines()[-1].strip('= ')}", flush=True)
    return seconds


def verdicts(name: Path) -> list[Any]:
    """What was decided, without how long it took."""
    return [claim | {"seconds": 0} for claim in json.loads(name.with_suffix(".json").read_text())["claims"]]


def check_equal(first: Path, second: Path) -> str:
    """Compare what both hold; a node that trains ahead may leave more replicas in one of the stores."""
    assert verdicts(first) == verdicts(second)
    n_trials = 0
    with Store(first) as here, Store(second) as there:
        keys = here.keys()
        assert keys == there.keys()
        for key in keys:
            content = here.content(key)
            if "measure" in content:
                np.testing.assert_array_equal(here.numbers(key, first=MOST), there.numbers(key, first=MOST))
                continue
            a, b = (store.trials(key, content["condition"]["budget"]) for store in (here, there))
            common = min(len(a), len(b))
            assert common
            n_trials += common
            for name in ("steps", "reached", "diverged"):
                np.testing.assert_array_equal(getattr(a, name)[:common], getattr(b, name)[:common])
    return f"{len(verdicts(first))} verdicts and {n_trials:,} trials of {len(keys)} conditions are equal"


def main() -> None:
    """Run all three and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="?", default="claims/", help="what pytest selects (default: claims/)")
    parser.add_argument("--nodes", type=int, default=2, help="of the cluster (default: 2)")
    parser.add_argument("--kill-after", type=float, default=20, help="seconds until a node is killed (default: 20)")
    given = parser.parse_args()
    if CORES * given.nodes > (os.cpu_count() or 1):
        os.environ["OMP_WAIT_POLICY"] = "passive"  # for nodes, which share cores
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": CORES})
    nodes = [cluster.add_node(num_cpus=CORES) for _ in range(given.nodes - 1)]
    os.environ.pop("OMP_WAIT_POLICY", None)
    with tempfile.TemporaryDirectory() as folder:
        local, whole, lost = (Path(folder) / name for name in ("local", "cluster", "node-lost"))
        decided(given.claims, str(local), "local")
        undisturbed = decided(given.claims, str(whole), "ray", cluster.address)
        print(check_equal(local, whole), flush=True)
        kill = threading.Timer(given.kill_after, cluster.remove_node, [nodes[-1]], {"allow_graceful": False})
        kill.start()
        disturbed = decided(given.claims, str(lost), "ray", cluster.address)
        kill.join()
        assert disturbed > given.kill_after, "the run was over before the node was killed"
        print(f"{check_equal(local, lost)}; the lost node cost {disturbed - undisturbed:.0f} s")
    cluster.shutdown()


if __name__ == "__main__":
    main()
