"""Filling a template. Every page needs nothing but itself: style, script and figures are inside."""

from typing import Any

from diffutron.pages.format import percent


def render(template: str, view: dict[str, Any], *, package: str) -> str:
    """Fill a template of `package`, which may include the shared ones of this folder.

    Values are escaped in a page, and left as they are in Markdown (`*.md.jinja`).
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("diffutron.pages")]),
        autoescape=lambda name: name is None or not name.endswith(".md.jinja"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    environment.filters["bar"] = lambda text: text.replace("|", "\\|")
    environment.filters["quote"] = lambda text: "\n".join(f"> {line}" for line in text.split("\n"))
    return environment.get_template(template).render(view)
