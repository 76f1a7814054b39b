"""One line on the terminal while replicas train."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from lossact.report.escaping import printable

if TYPE_CHECKING:
    import pytest

    from lossact.running.jobs import Progress


class ProgressLine:
    """Shows how far a launch is: in place on a terminal, elsewhere one line when it is done."""

    def __init__(self, config: "pytest.Config") -> None:
        self.reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self.capture: Any = config.pluginmanager.get_plugin("capturemanager")

    def __call__(self, progress: "Progress") -> None:
        text = printable(str(progress))
        with self.capture.global_and_fixture_disabled() if self.capture else nullcontext():
            self.reporter.ensure_newline()
            if self.reporter.isatty():
                self.reporter.rewrite("" if progress.finished else text, erase=True)
                self.reporter.flush()
            elif progress.finished:
                self.reporter.write_line(text)
