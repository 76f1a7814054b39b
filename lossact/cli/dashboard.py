"""`lossact dashboard`: save a W&B workspace for the runs of a project."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Save a W&B workspace that shows a project's runs: verdicts and intervals, learning curves with bands, "
        "arrivals, gradients by layer, surfaces, settings. Needs pip install 'lossact[dashboard]' and a W&B login."
    )
    parser.add_argument("--entity", required=True, help="W&B user or team")
    parser.add_argument("--project", default="lossact", help="W&B project (default: lossact)")
    parser.add_argument("--name", default="lossact", help="name of the workspace (default: lossact)")
    parser.add_argument("--metric", default="accuracy", help="metric to show beside the loss (default: accuracy)")
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="write the workspace to this file instead of sending it"
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> None:
    """Save the workspace to W&B, or write it to a file."""
    from lossact.report.dashboard import as_json, dashboard
    from lossact.report.files import check_outputs, write_whole
    from lossact.report.wandb_runs import prepare_wandb, save_workspace

    check_outputs(json=parsed.json)
    prepare_wandb()
    workspace = dashboard(parsed.entity, parsed.project, name=parsed.name, metric=parsed.metric)
    if parsed.json is not None:
        write_whole(parsed.json, as_json(workspace) + "\n")
        print(parsed.json)
        return
    print(save_workspace(workspace))
