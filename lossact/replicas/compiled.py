"""Many updates in one compiled loop, a slice of replicas a thread.

A slice is small enough to stay in a core's cache, and threads never wait for each other before the loop ends: on two
cores twice as fast as a step that shares each operation among all threads, more on a busy machine. As slices
are computed by themselves, their bits depend neither on other slices nor on the number of threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

from lossact.replicas.engine import Hyperparameters, ReplicaState, StoppingCriterion, make_step
from lossact.replicas.network import StackedNetwork
from lossact.replicas.update_rules import UpdateRule

Loop = Callable[..., tuple[Tensor, ...]]

SLICE = 128
MOST_UPDATES = 200

OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {
    "cpp_wrapper": True,  # the whole loop is C++ and leaves the interpreter to the other threads
    "cpp.threads": 1,
}
# The compiler's own matrix products, with what surrounds them melted in: 1.5 to 2 times a loop that calls a library for
# them. One backend alone, so that nothing is chosen by timing and equal keys give equal bits.
OWN_PRODUCTS: dict[str, str | int | bool | Callable[..., object]] = {
    "max_autotune": True,
    "max_autotune_gemm_backends": "CPP",
}


def advance_in_slices(
    network: StackedNetwork,
    rule: UpdateRule,
    criterion: StoppingCriterion,
    state: ReplicaState,
    inputs: Tensor,
    targets: Tensor,
    hyperparameters: Hyperparameters,
    n_updates: int,
) -> tuple[Tensor, Tensor]:
    """Take `n_updates` steps on the CPU; what `advance` does with an eager step, to rounding.

    Args:
        network: the stacked network; equal ones share what is compiled.
        rule: how weights move.
        criterion: when a replica rests.
        state: of all replicas; given new tensors, the old ones stay as they were.
        inputs: as the network arranges them, sets = replicas or 1 (shared by all).
        targets: (sets, batch) in {0, 1}.
        hyperparameters: one value a replica.
        n_updates: >= 1.

    Returns:
        loss and metric before each update, (n_updates, replicas).
    """
    replicas = len(state.parameters)
    losses, metrics = (state.parameters.new_empty(n_updates, replicas) for _ in range(2))
    own_products = state.parameters.dtype == torch.float32
    loop, compiled_for = _compiled_loop(network, rule, criterion, own_products)
    h = hyperparameters
    before = (state.parameters, state.optimizer_state, state.reached, state.diverged)
    after = tuple(torch.empty_like(tensor) for tensor in before)

    def advance_slice(rows: slice) -> None:
        # The compiler's products want the numbers of each replica side by side, also where replicas share them.
        data = [_rows(tensor, rows, replicas) for tensor in (inputs, targets)]
        # No shared storage.
        per_replica = [tensor[rows].clone() for tensor in (h.gradient_scale, *h.values)]
        now = [tensor[rows] for tensor in before]
        with torch.no_grad():
            for at in range(0, n_updates, MOST_UPDATES):
                n = min(MOST_UPDATES, n_updates - at)
                *now, loss, metric = loop(torch.tensor(n), *now, *data, *per_replica)
                losses[at : at + n, rows], metrics[at : at + n, rows] = loss[:n], metric[:n]
            for tensor, moved in zip(after, now, strict=True):
                tensor[rows] = moved

    slices = [slice(at, min(at + SLICE, replicas)) for at in range(0, replicas, SLICE)]
    threads = worker_threads(torch.get_num_threads())
    runs = []
    for rows in slices:
        runs.append(threads.submit(advance_slice, rows))
        shapes = (rows.stop - rows.start, *inputs.shape[1:])
        if shapes not in compiled_for:  # one thread compiles, the others wait
            runs[-1].result()
            compiled_for.add(shapes)
    for run in runs:
        run.result()
    state.parameters, state.optimizer_state, state.reached, state.diverged = after
    return losses, metrics


@lru_cache(maxsize=1)
def worker_threads(n: int) -> ThreadPoolExecutor:
    """Return n threads that compute slices, each with one thread of its own."""
    # Teams below them would crowd the machine, also after the loop.
    return ThreadPoolExecutor(n, thread_name_prefix="replicas", initializer=torch.set_num_threads, initargs=(1,))


def _rows(data: Tensor, rows: slice, replicas: int) -> Tensor:
    return data.expand(replicas, *data.shape[1:])[rows].contiguous()


@lru_cache(maxsize=64)
def _compiled_loop(
    network: StackedNetwork, rule: UpdateRule, criterion: StoppingCriterion, own_products: bool
) -> tuple[Loop, set[tuple[int, ...]]]:
    """Return the loop, and the shapes for which it has been compiled so far."""
    step = make_step(network, rule, criterion, compiled=False)

    def loop(n: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        start, given = tensors[:4], tensors[4:]
        curve = start[0].new_zeros(MOST_UPDATES, len(start[0]))

        def unfinished(k: Tensor, *_: Tensor) -> Tensor:
            return k < n

        def update(k: Tensor, *now: Tensor) -> tuple[Tensor, ...]:
            *moved, loss, metric = step(*now[:4], *given)
            losses, metrics = (
                curve.index_copy(0, k.reshape(1), value.unsqueeze(0))
                for curve, value in zip(now[4:], (loss, metric), strict=True)
            )
            return k + 1, *moved, losses, metrics

        _, *end = while_loop(  # type: ignore[no-untyped-call]
            unfinished, update, (torch.zeros_like(n), *start, curve, curve.clone())
        )
        return tuple(end)

    # What torch.compile keeps it keeps with a function's code, and for a handful of signatures only.
    loop.__code__ = loop.__code__.replace(co_name=f"loop_of_{network}_{rule}_{criterion}")
    options = OPTIONS | (OWN_PRODUCTS if own_products else {})
    return torch.compile(loop, dynamic=False, fullgraph=True, options=options), set()
