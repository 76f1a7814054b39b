"""The Trainer without its banners, and with a Ctrl-C that stays one."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning

from lossact.replicas.workers import torch_threads

IGNORED_WARNINGS = (  # what Lightning, or torch's compiler, runs into itself
    ".*LeafSpec.*",
    ".*torch.jit.script.*",
    ".*TypedStorage is deprecated.*",
    ".*exists and is not empty.*",
    "Using ModelCheckpoint with manual optimization.*",  # saved after the updates, as is meant
    r"\s*By default only one JsonargparseDeprecationWarning",
    r"(?s)\s*.*was deprecated in v[\d.]+ and\s+will\s+be\s+removed\s+in\s+v5",
    "LightningCLI's args parameter is intended.*",
    "Be aware that when using `ckpt_path`, callbacks.*",
    "The dirpath has changed.*",
    r".*You passed in a `val_dataloader` but have no `validation_step`.*",
    "Starting from v1.9.0, `tensorboardX`.*",
    ".*TensorFloat32 tensor cores.*",  # not enabled unless someone chose it
    "This instance was constructed with capturable=True.*",  # plain steps take place before one is recorded
    r"\s*Online softmax is disabled on the fly",  # torch's compiler, of fewer than 8 classes
    "RNN module weights are not part of.*",  # of networks side by side, whose weights are rows of one tensor
    "There is a performance drop because we have not yet implemented the batching rule.*",  # right, if slower
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's banners and advice, and deprecations that it or torch's compiler runs into itself."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=PossibleUserWarning)
            for message in IGNORED_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Keep Ctrl-C a KeyboardInterrupt; Lightning turns it into an exit and leaves SIGINT ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stopped:
        if isinstance(stopped.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if handler is not None and signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the process at once; Lightning would go on to the end of a batch, and pytest to the next test."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def trainer_environment(threads: int) -> Iterator[None]:
    """Run a Trainer without banners and with its number of threads, and leave signal handlers as they were."""
    with torch_threads(threads), quiet(), interruptible(), terminable(), exact_convolutions():
        yield


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Have convolutions on a GPU repeat bit for bit, and round as products of matrices do.

    Left to itself, torch takes algorithms that add in any order, and tf32 where only products are in float32.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic
    cudnn.deterministic = True
    try:
        with _rounded_as_products():
            yield
    finally:
        cudnn.deterministic = before


@contextmanager
def _rounded_as_products() -> Iterator[None]:
    try:
        is_exact = torch.get_float32_matmul_precision() == "highest"
        before = torch.backends.cudnn.allow_tf32
    except RuntimeError:  # said by torch's newer settings, which are the user's
        yield
        return
    torch.backends.cudnn.allow_tf32 = before and not is_exact
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
