"""A page of the package's templates, with the style of all pages in it."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lossact.checks import EMPTY
from lossact.palette import css


def render_page(template: str, content: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]] = EMPTY) -> str:
    """Return a page that loads nothing.

    Args:
        template: its file.
        content: what it shows, by the names that the template uses; text is escaped, Markup is not.
        functions: what the template calls, by name.

    Returns:
        HTML.
    """
    templates = PackageLoader("lossact.report", "templates")
    environment = Environment(
        loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= functions
    style, _, _ = templates.get_source(environment, "report.css")
    return environment.get_template(template).render(content, style=Markup(css() + style))
