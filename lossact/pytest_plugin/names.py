"""The names of plugins, and how pytest finds the one that is loaded with it."""

from importlib.metadata import entry_points

HOOKS = "lossact.pytest_plugin.hooks"  # the module that pytest loads
PLUGIN_NAME = "lossact-claims"  # the plugin that decides claims


def loading_options() -> list[str]:
    """Return the options with which pytest loads lossact's hooks: none where lossact is installed."""
    return [] if any(point.value == HOOKS for point in entry_points(group="pytest11")) else ["-p", HOOKS]
