"""A folder of raw text, and what its `sources.yaml` says of the files in it.

    sources:
      - files: haber_*.jsonl.gz            # a pattern of names, or a list of them
        name: haber                        # the source; else the row says it, or the file's name
        fields: {text: body, source: site} # our name: theirs
        license: CC BY-SA 4.0
        commercial: true                   # where the license's name does not say it
        group: karma                       # quotas are drawn from groups
        quota: 100000

Every key but `files` may be left out. A file that no entry names is read as if there were no
`sources.yaml`.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path

from pydantic import Field

from diffutron.config.renamed import KEYS
from diffutron.config.section import Positive, Section
from diffutron.data.sources.row_readers import DESCRIBED, list_files, name_of
from diffutron.runtime.errors import UserError
from diffutron.runtime.yaml_files import checked, read_yaml

NAME = DESCRIBED
FIELDS = ("text", "source", "group")


class Entry(Section):
    """What is known of the files of one source."""

    files: str | list[str]
    name: str | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    license: str | None = None
    commercial: bool | None = None
    group: str | None = None
    quota: Positive | None = None
    translation: bool | list[str] = False

    @property
    def drawn_from(self) -> str | None:
        """The group that its rows belong to; None: the one that each row names."""
        return self.group or (self.name if self.quota else None)

    def translates(self, source: str) -> bool:
        """Whether the rows of a source are translations, which are in several languages."""
        named = self.translation
        return named if isinstance(named, bool) else source in named

    def fits(self, file: Path) -> bool:
        patterns = [self.files] if isinstance(self.files, str) else self.files
        return any(fnmatch(name_of(file), pattern.rpartition("/")[2]) for pattern in patterns)


class Listing(Section):
    sources: list[Entry]


ANY = Entry(files="*")


def entries(folder: Path) -> list[Entry]:
    """The entries of a folder's `sources.yaml`; none without such a file.

    Raises:
        UserError: a key or value that has no meaning, or an entry without any file.
    """
    path = folder / NAME
    if not path.exists():
        return []
    found = checked(read_yaml(path), Listing, origin=str(path), renamed=KEYS).sources
    files = list_files(folder, setting=str(path))
    for entry in found:
        if unknown := set(entry.fields) - set(FIELDS):
            raise UserError(
                f"{path}: fields: {', '.join(sorted(unknown))}; allowed: {', '.join(FIELDS)}"
            )
        if not any(entry.fits(file) for file in files):
            there = ", ".join(map(name_of, files))
            raise UserError(f"{path}: no file is named {entry.files!r} (there are: {there})")
    return found


def entry_of(file: Path, found: Iterable[Entry]) -> Entry:
    """The first entry that names the file."""
    return next((entry for entry in found if entry.fits(file)), ANY)


def quotas_of(found: Iterable[Entry], quotas: Mapping[str, int]) -> dict[str, int]:
    """Quotas by group: those of the params and those of `sources.yaml`.

    Raises:
        UserError: both name a group, with different numbers.
    """
    both = dict(quotas)
    for entry in found:
        if entry.quota is None:
            continue
        if (group := entry.drawn_from) is None:
            raise UserError(f"{NAME}: the quota of {entry.files!r} needs a `group` or a `name`")
        if both.setdefault(group, entry.quota) != entry.quota:
            raise UserError(
                f"quota of group {group}: {both[group]} and {entry.quota}; give it once, in "
                f"corpus.quotas or in {NAME}"
            )
    return both
