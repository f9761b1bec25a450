"""What the docs site needs besides `docs/`: pages of other folders, the page of the commands, and
links that hold there.

`mkdocs.yml` names this file. A link to a file that is no page keeps its words alone.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

from diffutron.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = {  # of the clone, and what they are called on the site
    "README.md": "index.md",
    "README.tr.md": "tr.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "infra/README.md": "infra.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that lie outside `docs/`, and that of the commands."""
    for origin, page in PAGES.items():
        text = (ROOT / origin).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, "reference/commands.md", content=commands()))
    return files


def commands() -> str:
    """What `--help` says of every command."""
    group: Any = typer.main.get_command(app)
    group.commands = {name: one for name, one in group.commands.items() if not one.hidden}
    text = get_docs_for_click(obj=group, ctx=typer.Context(group, info_name="diffutron"))
    return f"# Commands\n\n{text[text.index('## `diffutron build`') :]}"


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Links as they hold in the clone become links of the site."""
    uri = page.file.src_uri
    origin = next((one for one, name in PAGES.items() if name == uri), f"docs/{uri}")
    here = posixpath.dirname(origin)

    def relink(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        path, hash_, anchor = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return found.group()
        place = posixpath.normpath(posixpath.join(here, path))
        name = PAGES.get(place, place.removeprefix("docs/"))
        if files.get_file_from_path(name) is None:
            return f"{mark}{words}" if mark else words
        link = posixpath.relpath(name, posixpath.dirname(uri) or ".")
        return f"{mark}[{words}]({link}{hash_}{anchor})"

    return LINK.sub(relink, markdown)
