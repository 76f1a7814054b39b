"""Hooks that a project's conftest.py may implement."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lossact.executors import Executor
    from lossact.storage import Store


@pytest.hookspec(firstresult=True)
def pytest_claims_store(config: pytest.Config) -> "Store | None":
    """The store of this run's trials, a lossact.Store or a subclass of it; None for what --claims-store says.

    Called once a process, when the first claim needs trials; lossact closes what it returns.
    """


@pytest.hookspec(firstresult=True)
def pytest_claims_executor(config: pytest.Config) -> "Executor | None":
    """Where this run's replicas train, a lossact.Executor; None for what --claims-executor says.

    Called once a process, when the first claim needs trials; lossact closes what it returns.
    """
