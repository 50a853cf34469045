"""Texts that the program writes, as Jinja templates: each lies in a folder `templates` of the room that fills it in."""

from __future__ import annotations

import html
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, /, **values: Any) -> str:
    """The text of a template, named by its path in the package (`reporting/templates/report.html.j2`).

    In `.html.j2` every value is escaped. Raises jinja2.UndefinedError for a value that the template needs and lacks.
    """
    return _environment(template.endswith(".html.j2")).get_template(template).render(values)


def text_of(name: str) -> Any:
    """A file beside the templates, as it is: a style or a script, which no page escapes."""
    from markupsafe import Markup

    environment = _environment(True)
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


@cache
def _environment(escaping: bool) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("adaptershare_cli", "."),
        autoescape=escaping,
        finalize=_escaped if escaping else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _escaped(value: Any) -> Any:
    """A value as `html.escape` writes it: Jinja's own escaping, which comes after, writes quotes in another way."""
    from markupsafe import Markup

    return value if hasattr(value, "__html__") else Markup(html.escape(str(value)))
