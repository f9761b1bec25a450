"""A small Hugging Face hub on loopback, for tests: the part of its HTTP API that `huggingface_hub`,
`datasets` and `transformers` use to read models and data sets, and faults on demand.

    python -m tests.support.fake_hub FOLDER --port 8765
    HF_ENDPOINT=http://127.0.0.1:8765 HF_HUB_DISABLE_XET=1 HF_HOME=some/empty/folder  python ...

FOLDER holds one folder a repository, whose files are its branch `main`:

    models/OWNER/NAME/...                        files of `main`
    datasets/OWNER/NAME/...                      files of `main`
    datasets/OWNER/NAME@refs%2Fconvert%2Fparquet/...   files of another ref, its name quoted; or of
                                                 a commit that `main` has left: NAME@SHA
    datasets/OWNER/NAME.json                     what else there is to know (all of it optional):
        commit   the sha of `main` (else a digest of the files): for revisions that a program pins
        commits  {ref: sha} of other refs
        gated    true: a file needs a token that `access` lists (401 without one, 403 with another)
        private  true: without such a token the repository does not exist
        access   the tokens that are let in
        moved    "OTHER/NAME": the repository was renamed, requests are redirected

Faults are rules, looked at from the first to the last for each request; the first that fits acts:

    {"match": "GET .*part-0.*parquet",  a regular expression on "METHOD path?query"; "CDN" is the
                                        method of the storage host, where large files lie
     "times": 2, "skip": 1,             act so often (default: always), let so many pass first
     "do": "status", "status": 429, "headers": {"Retry-After": "1"}}
    {"match": "...", "do": "cut", "at": 0.5}       promise the whole body, send that share, hang up
    {"match": "...", "do": "drop"}                 hang up without an answer
    {"match": "...", "do": "wait", "seconds": 30}  answer late
    {"match": "...", "do": "spoil"}                the right length and ETag, other bytes

In a test: `with serve(folder) as hub:` gives `hub.url`, `hub.faults` (a list of rules) and
`hub.log` (one entry a request). `huggingface_hub` reads HF_ENDPOINT when it is imported, so what is
tested has to run in a process of its own. From outside: PUT /_fake/faults (a JSON list),
GET /_fake/log, DELETE /_fake/log.

Not here: Xet storage (hence HF_HUB_DISABLE_XET), uploads, spaces, buckets. The dataset viewer,
which `datasets` asks at datasets-server.HOST, is answered 404 where that name leads here.
"""

import argparse
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.support.hub_store import Commit, File, Store, entries_of, listing

PAGE = 1000  # entries of one answer of `tree`, as on the hub
API = re.compile(
    r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info|refs)(?:/(.*))?)?$"
)
RESOLVE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")
CACHED = re.compile(r"/api/resolve-cache/(models|datasets)/([^/]+/[^/]+)/([^/]+)/(.+)$")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on purpose here; nothing to say about it."""


@dataclass
class Hub:
    """A running server: its address, the faults it acts out, and what it was asked."""

    store: Store
    url: str = ""
    storage: str = ""  # the storage host: the same server by another name, as clients compare hosts
    faults: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: Callable[[], None] = lambda: None  # from then on nothing listens there

    def fault(self, request: str) -> dict[str, Any] | None:
        """The rule that acts on a request, counted."""
        with self.lock:
            for rule in self.faults:
                if re.search(rule["match"], request):
                    rule["met"] = rule.get("met", 0) + 1
                    passed = rule["met"] - rule.get("skip", 0)
                    if 0 < passed <= rule.get("times", passed):
                        return rule
        return None


class Answer(Exception):
    """An answer that ends the handling of a request."""

    def __init__(self, status: int, body: Any = None, **headers: str):
        super().__init__(status)
        self.status, self.body = status, body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def refusal(status: int, code: str, message: str, **headers: str) -> Answer:
    return Answer(status, {"error": message}, X_Error_Code=code, X_Error_Message=message, **headers)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._handle("GET")

    def do_HEAD(self) -> None:
        self._handle("HEAD")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PUT(self) -> None:
        self._handle("PUT")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self, method: str) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if url.path.startswith("/_fake/"):
            return self._control(method, url.path, content)
        kind = "CDN" if url.path.startswith("/storage/") else method
        self.rule = rule = self.hub.fault(f"{kind} {self.path}") or {}
        self.entry: dict[str, Any] = {
            "at": round(time.time(), 3),
            "method": kind if method == "GET" else method,
            "path": self.path,
            "range": self.headers.get("Range"),
            "token": (self.headers.get("Authorization") or "")[-6:] or None,
            "agent": (self.headers.get("User-Agent") or "")[:60],
            "fault": rule.get("do"),
        }
        self.hub.log.append(self.entry)
        if rule.get("do") == "wait":
            time.sleep(rule["seconds"])
        if rule.get("do") == "drop":
            self.close_connection = True
            return None
        try:
            if rule.get("do") == "status":
                raise Answer(
                    rule["status"], {"error": "a fault on demand"}, **rule.get("headers", {})
                )
            self._route(method, unquote(url.path), url.query, content)
        except Answer as answer:
            self._send(answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        return None

    def _route(self, method: str, path: str, query: str, content: bytes) -> None:
        quoted = urlsplit(self.path).path
        if self.headers.get("Host", "").startswith("datasets-server."):
            raise Answer(404, {"error": "no dataset viewer here"})
        if path == "/api/whoami-v2":
            self._whoami()
        if quoted.startswith("/storage/"):
            found = self.hub.store.by_sha256(quoted.rsplit("/", 1)[1])
            if found is None:
                raise Answer(404, {"error": "no such object"})
            return self._send_file(found, {})
        if match := API.match(quoted):
            kind, name, what, rest = match.groups()
            return self._api(kind, name, what, rest, parse_qs(query), content)
        if match := RESOLVE.match(quoted):
            return self._resolve(
                match[1] or "models", match[2], unquote(match[3]), unquote(match[4])
            )
        if match := CACHED.match(quoted):
            file = self._file(match[1], match[2], unquote(match[3]), unquote(match[4]))
            return self._send_file(file, self._names(file, match[3]))
        raise Answer(404, {"error": "no such page"})

    # ------------------------------------------------------------------ the API

    def _api(
        self, kind: str, name: str, what: str | None, rest: str | None, query: Any, content: bytes
    ) -> None:
        about = self._repository(kind, name)
        if what == "refs":
            refs = [{"name": ref, "ref": ref} for ref in self.hub.store.refs(kind, name)]
            raise Answer(200, {"branches": refs, "converts": [], "tags": []})
        revision, _, inside = (rest or "main").partition("/")
        commit = self._commit(kind, name, unquote(revision))
        if what == "tree":
            self._tree(kind, name, commit, unquote(inside), query)
        if what == "paths-info":
            asked = parse_qs(content.decode()).get("paths", [])
            raise Answer(200, [one for path in asked for one in entries_of(commit, path)])
        owner = name.split("/")[0]
        raise Answer(
            200,
            {
                "_id": commit.sha[:24], "id": name, "modelId": name, "author": owner,
                "sha": commit.sha, "private": bool(about.get("private")),
                "gated": "manual" if about.get("gated") else False, "disabled": False,
                "lastModified": "2025-01-01T00:00:00.000Z", "createdAt": "2025-01-01T00:00:00.000Z",
                "downloads": 0, "likes": 0, "tags": [],
                "siblings": [{"rfilename": path} for path in commit.files],
            },
        )  # fmt: skip

    def _tree(self, kind: str, name: str, commit: Commit, inside: str, query: Any) -> None:
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        found = listing(commit, inside, recursive=recursive)
        if inside and not found:
            raise refusal(404, "EntryNotFound", f"{inside} does not exist on {commit.sha}")
        start = int(query.get("cursor", ["0"])[0])
        headers = {}
        if start + PAGE < len(found):
            more = f"{self.hub.url}/api/{kind}/{name}/tree/{commit.sha}"
            more += f"/{quote(inside, safe='')}" if inside else ""
            more += f"?recursive={recursive}&cursor={start + PAGE}"
            headers["Link"] = f'<{more}>; rel="next"'
        raise Answer(200, found[start : start + PAGE], **headers)

    def _whoami(self) -> None:
        token = self._token()
        if token is None:
            raise Answer(401, {"error": "Invalid username or password."})
        raise Answer(
            200, {"type": "user", "name": token, "orgs": [], "auth": {"type": "access_token"}}
        )

    # ------------------------------------------------------------------ files

    def _resolve(self, kind: str, name: str, revision: str, path: str) -> None:
        """Small files by way of a relative redirect, large ones by one to the storage host."""
        file = self._file(kind, name, revision, path)
        commit = self._commit(kind, name, revision).sha
        names = self._names(file, commit)
        if file.stored:
            place = f"{self.hub.storage}/storage/{quote(name, safe='')}/{file.sha256}"
            raise Answer(302, None, Location=place, **names)
        place = f"/api/resolve-cache/{kind}/{name}/{commit}/{quote(path, safe='')}"
        raise Answer(307, None, Location=place, **names)

    def _file(self, kind: str, name: str, revision: str, path: str) -> File:
        about = self._repository(kind, name)
        commit = self._commit(kind, name, revision)
        if about.get("gated") and self._token() not in about.get("access", []):
            message = f"Access to {kind[:-1]} {name} is restricted"
            raise refusal(401 if self._token() is None else 403, "GatedRepo", message)
        if path not in commit.files:
            message = f"Entry {path} does not exist"
            raise refusal(404, "EntryNotFound", message, X_Repo_Commit=commit.sha)
        return commit.files[path]

    def _repository(self, kind: str, name: str) -> dict[str, Any]:
        about = self.hub.store.about(kind, name)
        if about and "moved" in about:
            raise Answer(307, None, Location=self.path.replace(name, about["moved"], 1))
        hidden = about and about.get("private") and self._token() not in about.get("access", [])
        if about is None or hidden:
            # The hub tells a stranger 401, a user 404: both mean "not here, or not for you".
            status = 401 if self._token() is None else 404
            raise refusal(status, "RepoNotFound", "Repository not found")
        return about

    def _commit(self, kind: str, name: str, revision: str) -> Commit:
        found = self.hub.store.commit(kind, name, revision)
        if found is None:
            raise refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    def _names(self, file: File, commit: str) -> dict[str, str]:
        names = {"X_Repo_Commit": commit, "ETag": f'"{file.etag}"', "Accept_Ranges": "bytes"}
        if file.stored:
            names |= {"X_Linked_Etag": f'"{file.sha256}"', "X_Linked_Size": str(file.size)}
        return names

    def _token(self) -> str | None:
        given = self.headers.get("Authorization") or ""
        return given.removeprefix("Bearer ") or None

    # ------------------------------------------------------------------ answers

    def _send(self, answer: Answer) -> None:
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        headers = {"Content-Type": "application/json"} | answer.headers
        self._write(answer.status, headers, body)

    def _send_file(self, file: File, names: dict[str, str]) -> None:
        headers = {name.replace("_", "-"): value for name, value in names.items()}
        headers |= {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        headers |= {"Content-Type": "application/octet-stream"}
        asked = re.match(r"bytes=(\d*)-(\d*)$", self.headers.get("Range") or "")
        if asked is None:
            return self._write(200, headers, file.path.read_bytes())
        first, last = asked.groups()
        start = int(first) if first else max(file.size - int(last), 0)
        end = min(int(last) if last and first else file.size - 1, file.size - 1)
        if start >= file.size:
            headers["Content-Range"] = f"bytes */{file.size}"
            return self._write(416, headers, b"")
        headers["Content-Range"] = f"bytes {start}-{end}/{file.size}"
        with file.path.open("rb") as stream:
            stream.seek(start)
            return self._write(206, headers, stream.read(end - start + 1))

    def _write(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """The status line, the headers and the body, or the first share of it where a rule cuts."""
        cut = self.rule.get("do") == "cut" and self.command != "HEAD"
        share = int(len(body) * self.rule.get("at", 0.5)) if cut else len(body)
        if self.rule.get("do") == "spoil":
            body = body[: len(body) // 2] + bytes(len(body) - len(body) // 2)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.end_headers()
        self.entry |= {"status": status, "sent": 0 if self.command == "HEAD" else share}
        if self.command != "HEAD":
            self.wfile.write(body[:share])
        if cut:
            self.wfile.flush()
            self.close_connection = True

    def _control(self, method: str, path: str, content: bytes) -> None:
        self.entry, self.rule = {}, {}
        if (method, path) == ("PUT", "/_fake/faults"):
            self.hub.faults[:] = json.loads(content)
        elif (method, path) == ("DELETE", "/_fake/log"):
            self.hub.log.clear()
        elif method != "GET":
            return self._send(Answer(404, {"error": "no such control"}))
        return self._send(Answer(200, self.hub.log if path == "/_fake/log" else self.hub.faults))


@contextmanager
def serve(folder: str | Path, port: int = 0) -> Iterator[Hub]:
    """A hub on 127.0.0.1 as long as the block runs; port 0 takes a free one."""
    hub = Hub(Store(Path(folder).resolve()))
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = Server(("127.0.0.1", port), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    hub.storage = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    hub.stop = stop
    try:
        yield hub
    finally:
        if thread.is_alive():
            stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="A small Hugging Face hub on loopback.")
    parser.add_argument("folder", type=Path, help="the folder of repositories")
    parser.add_argument("--port", type=int, default=8765, help="0 takes a free one")
    given = parser.parse_args()
    with serve(given.folder, given.port) as hub:
        print(f"HF_ENDPOINT={hub.url}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
