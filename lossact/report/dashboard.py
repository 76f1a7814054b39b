"""A W&B workspace for lossact's runs, as code: needs the package wandb-workspaces (the extra `dashboard`)."""

from typing import Any

from lossact.errors import InputError

BANDS = ("q10", "median", "q90")


def dashboard(entity: str, project: str, *, name: str = "lossact", metric: str = "accuracy") -> Any:
    """Return a workspace of verdicts, learning curves, arrivals, gradients by layer, surfaces and settings.

    Args:
        entity: W&B user or team.
        project: of the runs.
        name: of the view.
        metric: what conditions are measured by beside the loss.

    Returns:
        a wandb_workspaces.workspaces.Workspace; its `save` needs the network, `as_json` does not.

    Raises:
        InputError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError:
        raise InputError("the dashboard needs wandb-workspaces; pip install 'lossact[dashboard]'") from None

    def by_updates(title: str, *names: str, **how: Any) -> Any:
        return panels.LinePlot(title=title, x="update", y=list(names), title_x="updates", **how)

    def banded(title: str, name: str, **how: Any) -> Any:
        return by_updates(title, *(f"{name}/{band}" for band in BANDS), name, **how)

    columns = [
        panels.Config("condition.optimizer.learning_rate"),
        panels.Config("condition.budget"),
        panels.SummaryMetric("reach_rate"),
        panels.SummaryMetric("median_steps_to_target"),
    ]
    sections = {
        "Verdicts": [
            panels.WeavePanelSummaryTable(table_name="verdicts", layout=panels.Layout(w=24, h=10)),
            panels.MediaBrowser(title="effects and intervals", media_keys=["intervals"]),
        ],
        "Learning": [
            banded("loss: median and 80% band", "loss", log_y=True),
            banded(f"{metric}: median and 80% band", metric),
            by_updates("share that reached the target", "reach_rate", range_y=(0, 1)),
        ],
        "Arrival": [
            panels.CustomChart(
                query={"summaryTable": {"tableKey": "arrivals"}},
                chart_name="wandb/histogram/v0",
                chart_fields={"value": "steps_to_target"},
                chart_strings={"title": "steps to target"},
            ),
            panels.BarPlot(title="share that reached the target", metrics=[panels.SummaryMetric("reach_rate")]),
            panels.BarPlot(title="median steps to target", metrics=[panels.SummaryMetric("median_steps_to_target")]),
        ],
        "Gradients": [banded(f"gradient norm: {layer}", f"gradient_norm/{layer}", log_y=True) for layer in LAYERS],
        "Surfaces": [panels.MediaBrowser(title="one neuron", media_keys=["surfaces"], num_columns=3)],
        "Settings": [
            panels.ParallelCoordinatesPlot(columns=list(map(panels.ParallelCoordinatesPlotColumn, columns))),
        ],
    }
    opened = [workspaces.Section(name=title, panels=content, is_open=True) for title, content in sections.items()]
    return workspaces.Workspace(entity=entity, project=project, name=name, sections=opened)


LAYERS = ("hidden", "first", "second", "output")  # of the MLP and the CNN


def as_json(workspace: Any) -> str:
    """Return what `save` would send, without sending it."""
    text: str = workspace._to_model().model_dump_json(indent=2)
    return text
