"""The one door to the hub: a name becomes a commit, and files of that commit, whole and checked.

    folder = open_repository("jhu-clsp/mmBERT-base").fetch("*.json", "*.safetensors")

A revision is resolved once. What is in the cache is not asked for again, so a pinned commit needs
no network. A refusal that passes (429, 5xx, a cut body, a hang-up) is tried again; each file is
held against the name that the hub gives its content. Nothing else imports `huggingface_hub`.
"""

import glob
import hashlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from errno import EACCES, ENOSPC, ENOTDIR, EROFS
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from time import sleep
from typing import Any, Literal, TypeVar

from diffutron.runtime.errors import UserError
from diffutron.runtime.files import write_text

Kind = Literal["model", "dataset"]
Cause = Literal[
    "unreachable", "not cached", "no token", "no access", "no name", "no revision", "no file",
    "refused", "damaged", "no space", "not writable",
]  # fmt: skip
CARD = "README.md"
OWN_FOLDERS = ("models", "data", "checkpoints")  # of a project: a path even before they are made
PATIENCE = 20.0  # seconds after which nothing is tried again; the client's own tries come on top
LONGEST_WAIT = 330.0  # seconds, where the hub itself names the time of the next try
TRIES_TO_CONNECT, TRIES_AS_TOLD, ALWAYS = 3, 5, 1000
TOLD_FROM = 20_000_000  # bytes of a fetch that is announced
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
TOKENIZER = ("*.json", "*.model", "*.txt", "*.jinja")
CHECKPOINT = (*TOKENIZER, "*.safetensors")  # other formats of the same weights stay on the hub
T = TypeVar("T")


class HubError(UserError):
    """One line that names the repository and the cause."""

    def __init__(self, message: str, cause: Cause):
        super().__init__(message)
        self.cause: Cause = cause


@dataclass(frozen=True)
class Repository:
    """A commit of a repository, and the bytes of each of its files.

    setting: where the user has named it, for error lines.
    """

    name: str
    kind: Kind
    revision: str
    commit: str
    sizes: Mapping[str, int]
    setting: str = ""

    @property
    def title(self) -> str:
        """`OWNER/NAME @ revision (commit)`."""
        return f"{self.name} @ {self.revision} ({self.commit[:12]})"

    def matching(self, *patterns: str) -> list[str]:
        """The paths of the files that fit one of the patterns; of a model, those at its root."""
        paths = (path for path in self.sizes if self.kind == "dataset" or "/" not in path)
        return [path for path in paths if any(fnmatch(path, one) for one in patterns)]

    def fetch(self, *patterns: str) -> Path:
        """The folder of the commit, once all files that fit a pattern are there and whole.

        Raises:
            HubError: no file fits, or the hub does not give one.
        """
        from huggingface_hub import hf_hub_download, snapshot_download

        if not (wanted := self.matching(*patterns)):
            raise self._error("no file", f"holds no file {' or '.join(patterns)}")
        if (size := self.bytes_to_fetch(*patterns)) >= TOLD_FROM:
            place = _place(self.kind, self.name, self.setting)
            print(f"{place}: fetching {size / 1e9:.2f} GB", file=sys.stderr, flush=True)
        exact = [glob.escape(path) for path in wanted]
        folder = Path(
            self._ask(
                lambda: snapshot_download(
                    self.name, repo_type=self.kind, revision=self.commit, allow_patterns=exact
                )
            )
        )
        for path in [path for path in wanted if not is_whole(folder / path)]:
            self._ask(
                lambda path=path: hf_hub_download(
                    self.name, path, repo_type=self.kind, revision=self.commit, force_download=True
                )
            )
            if not is_whole(folder / path):
                raise self._error(
                    "damaged", f"gives other bytes for {path} than it names; try again later"
                )
        return folder

    def bytes_to_fetch(self, *patterns: str) -> int:
        """The size of the files that fit a pattern and are not in the cache."""
        return sum(
            self.sizes[path] for path in self.matching(*patterns) if self._cached(path) is None
        )

    def read_start(self, path: str, read: Callable[[Any], T]) -> T:
        """What `read` gives of a file; of one that is not in the cache only what it reads is
        fetched."""
        from huggingface_hub import HfFileSystem

        def call() -> T:
            if (here := self._cached(path)) is not None:
                with here.open("rb") as stream:
                    return read(stream)
            prefix = "datasets/" if self.kind == "dataset" else ""
            place = f"{prefix}{self.name}@{self.commit}/{path}"
            with HfFileSystem().open(place, "rb", block_size=1 << 18) as stream:
                return read(stream)

        return self._ask(call)

    def card(self) -> dict[str, Any]:
        """What the head of the README states; {} without one."""
        from huggingface_hub import RepoCard

        if CARD not in self.sizes:
            return {}
        text = (self.fetch(CARD) / CARD).read_text(encoding="utf-8")
        return RepoCard(text, ignore_metadata_errors=True).data.to_dict()

    def _cached(self, path: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.name, path, revision=self.commit, repo_type=self.kind)
        return Path(found) if isinstance(found, str) else None

    def _ask(self, call: Callable[[], T]) -> T:
        return ask(call, name=self.name, kind=self.kind, revision=self.revision, told=self.setting)

    def _error(self, cause: Cause, text: str) -> HubError:
        return HubError(f"{_place(self.kind, self.name, self.setting)} {text}", cause)


def cache_space() -> tuple[Path, int]:
    """The folder in which fetched files are kept (or the next one above), and its free bytes."""
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE)
    while not place.exists():
        place = place.parent
    return place, shutil.disk_usage(place).free


def is_hub_name(text: str) -> bool:
    """Whether a text can only be OWNER/NAME of the hub, and no path below the current folder."""
    owner, _, name = text.partition("/")
    path = owner[:1] in ("", ".", "~") or owner in OWN_FOLDERS or Path(owner).is_dir()
    return not path and name not in ("", ".", "..") and "/" not in name


def split_name(text: str) -> tuple[str, str]:
    """Name and revision of `OWNER/NAME` or `OWNER/NAME@REVISION`."""
    name, _, revision = text.partition("@")
    return name, revision or "main"


def open_repository(
    name: str,
    *,
    kind: Kind = "model",
    revision: str = "main",
    commit: str | None = None,
    setting: str = "",
) -> Repository:
    """The commit that a revision means now, or the pinned one, and what it holds.

    setting: where the user has named it, for error lines, and for one where no commit is pinned.

    Raises:
        HubError: there is none, or this user may not see it.
    """
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    at = commit or resolve(name, kind=kind, revision=revision, setting=setting)
    if setting and not commit and at != revision:
        place = _place(kind, name, setting)
        print(f"{place} is read at {at}, which {revision} may leave", file=sys.stderr, flush=True)

    def listed() -> dict[str, int]:
        folder = Path(snapshot_download(name, repo_type=kind, revision=at, allow_patterns=[]))
        try:
            tree = get_cached_repo_tree(name, repo_type=kind, revision=at)
        except CachedRepoTreeNotFoundError:  # offline, and fetched by an older client
            files = [path for path in folder.rglob("*") if path.is_file()]
            return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
        return {file.path: file.size for file in tree}

    sizes = ask(listed, name=name, kind=kind, revision=commit or revision, told=setting)
    return Repository(name, kind, revision, at, sizes, setting)


def resolve(name: str, *, kind: Kind, revision: str, setting: str = "", online: bool = True) -> str:
    """The commit that a revision means now; without the hub, the one that the cache knows.

    online: whether the hub is asked at all.

    Raises:
        HubError: neither of them tells.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision

    def info() -> str:
        return str(HfApi().repo_info(name, repo_type=kind, revision=revision).sha)

    def known() -> Path:
        return Path(HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind), "refs", revision)

    try:
        if not online:
            raise HubError(f"{_place(kind, name, setting)} is not in the cache", "not cached")
        commit = ask(info, name=name, kind=kind, revision=revision, told=setting)
    except HubError as error:
        if error.cause in ("unreachable", "refused", "not cached") and known().is_file():
            return known().read_text(encoding="utf-8").strip()
        raise
    with suppress(UserError):  # a cache that others keep may be read-only
        write_text(known(), commit)
    return commit


def is_whole(file: Path) -> bool:
    """Whether the bytes of a cached file have the name under which the cache keeps them.

    sha256 of a large file, git's sha1 of a small one; true where the cache keeps no such name.
    """
    name = file.resolve().name
    if len(name) == 64:
        digest = hashlib.sha256()
    elif len(name) == 40:
        digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode())
    else:
        return True
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == name


def ask(call: Callable[[], T], *, name: str, kind: Kind, revision: str, told: str = "") -> T:
    """The answer of the hub; tried again while the cause may pass.

    Raises:
        HubError: the cause in one line.
    """
    import httpx2
    from huggingface_hub.errors import HFValidationError, XetDownloadError
    from tenacity import RetryCallState, Retrying

    kinds = (OSError, httpx2.HTTPError, httpx2.InvalidURL, HFValidationError, XetDownloadError)
    place = _place(kind, name, told)

    def fault(state: RetryCallState) -> "_Fault":
        error = state.outcome.exception() if state.outcome else None
        return _explain(error, revision) if isinstance(error, kinds) else _Fault("refused", "")

    def pause(state: RetryCallState) -> float:
        return fault(state).wait or min(8.0, 2.0 ** (state.attempt_number - 1))

    def over(state: RetryCallState) -> bool:
        limit = LONGEST_WAIT if fault(state).wait else PATIENCE
        late = (state.seconds_since_start or 0.0) + pause(state) > limit
        return late or state.attempt_number >= fault(state).tries

    def say(state: RetryCallState) -> None:
        what = fault(state).text.partition(";")[0]
        print(f"{place} {what}; trying again in {pause(state):.0f} s", file=sys.stderr, flush=True)

    try:
        return Retrying(
            retry=lambda state: fault(state).tries > 1,
            wait=pause,
            stop=over,
            before_sleep=say,
            sleep=sleep,
            reraise=True,
        )(call)
    except kinds as error:
        found = _explain(error, revision)
        raise HubError(f"{place} {found.text}", found.cause) from error


@dataclass(frozen=True)
class _Fault:
    """What an error of the client means, and how often it is worth a try."""

    cause: Cause
    text: str
    tries: int = 1
    wait: float | None = None  # seconds that the hub asks for


def _explain(error: BaseException, revision: str) -> _Fault:
    """The cause that lies deepest, since the client wraps what it was told."""
    for each in reversed([*_causes(error)]):
        response = getattr(each, "response", None)
        status = response.status_code if response is not None else getattr(each, "errno", None)
        for kinds, statuses, fault in _faults():
            if isinstance(each, kinds) and (not statuses or status in statuses):
                after = response.headers.get("Retry-After", "") if response is not None else ""
                text = fault.text.format(revision=revision, status=status, kind=type(each).__name__)
                wait = float(after) if after.isdecimal() else None
                tries = TRIES_AS_TOLD if wait else fault.tries
                return replace(fault, text=text, tries=tries, wait=wait)
    return _Fault("damaged", f"cannot be read whole ({_short(error)}); try again later", ALWAYS)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _short(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:120]


@cache
def _faults() -> "list[tuple[type | tuple[type, ...], tuple[int, ...], _Fault]]":
    """Kinds of errors, the statuses (or error numbers) that count, the meaning; first fit."""
    import httpx2
    from huggingface_hub import errors

    busy = (408, 429, *range(500, 600))
    connect = (httpx2.ConnectError, httpx2.ConnectTimeout)
    settings = (httpx2.ProxyError, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
    gated, refused = errors.GatedRepoError, errors.HfHubHTTPError
    return [
        (OSError, (ENOSPC,), _Fault("no space", "does not fit on the disk of HF_HOME; make room")),
        (OSError, (EACCES, EROFS, ENOTDIR),
         _Fault("not writable", "cannot be kept in HF_HOME, since this user may not write there")),
        (errors.OfflineModeIsEnabled, (),
         _Fault("not cached", "is not in the cache, and HF_HUB_OFFLINE forbids to fetch it")),
        (errors.HFValidationError, (),
         _Fault("no name", "has no name that the hub knows; write OWNER/NAME")),
        (gated, (401,),
         _Fault("no token", "is gated; ask for access on its page and set HF_TOKEN to your token")),
        ((gated, errors.DisabledRepoError), (),
         _Fault("no access", "is gated, and this token has no access; ask for it on its page")),
        (errors.RevisionNotFoundError, (),
         _Fault("no revision", "has no revision {revision}; look at its page")),
        (errors.RemoteEntryNotFoundError, (),
         _Fault("no file", "lacks a file that it lists; look at its page")),
        (errors.RepositoryNotFoundError, (),
         _Fault("no name", "does not exist or is private; check the name, or set HF_TOKEN")),
        (refused, busy,
         _Fault("refused", "is refused by the hub now (status {status}); try again later", ALWAYS)),
        (refused, (401, 403),
         _Fault("no access", "refuses this token (status {status}); check HF_TOKEN")),
        (refused, (), _Fault("refused", "is refused by the hub (status {status})")),
        (connect, (),
         _Fault("unreachable", "cannot be fetched, since no connection to the hub can be made; "
                "check the network and the proxy", TRIES_TO_CONNECT)),
        (settings, (),
         _Fault("unreachable", "cannot be fetched ({kind}); check HF_TOKEN, HF_ENDPOINT, proxy")),
        (httpx2.InvalidURL, (),
         _Fault("unreachable", "cannot be fetched, since HF_ENDPOINT or the proxy is no address")),
        (httpx2.TransportError, (),
         _Fault("unreachable", "cannot be fetched, since the hub hangs up; try again "
                "later", ALWAYS)),
    ]  # fmt: skip


def _place(kind: Kind, name: str, setting: str) -> str:
    what = f"{'model' if kind == 'model' else 'data set'} {name}"
    return f"{setting}: {what}" if setting else what
