"""Hooks that a project's conftest.py may implement."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lossact.executors import Executor
    from lossact.storage import Store


@pytest.hookspec(firstresult=True)
def pytest_claims_store(config: pytest.Config) -> "Store | None":
    """Return the store of this run's trials, a lossact.Store or a subclass; None for the one of --claims-store.

    Called once per process, when the first claim needs trials; lossact closes the store.
    """


@pytest.hookspec(firstresult=True)
def pytest_claims_executor(config: pytest.Config) -> "Executor | None":
    """Return the executor that trains this run's replicas, a lossact.Executor; None for the one of --claims-executor.

    Called once per process, when the first claim needs trials; lossact closes the executor.
    """
