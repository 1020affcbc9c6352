"""A hub of models on loopback, as far as `hf upload` and `hf download` ask it.

Files come inside of a commit and go by HTTP; the real one stores large files elsewhere.
"""

import base64
import hashlib
import http.server
import json
import threading
from typing import Any, Self
from urllib.parse import unquote, urlsplit

FIRST = "0" * 40


class Hub(http.server.ThreadingHTTPServer):
    """Holds commits of one repository: `commits[sha]` is what files it had, by their names."""

    daemon_threads = True

    def __init__(self, repository: str) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repository = repository
        self.commits: dict[str, dict[str, bytes]] = {FIRST: {}}
        self.head = FIRST
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def commit(self, lines: list[dict[str, Any]]) -> None:
        """Take the lines of a commit: a header, and files in base64."""
        files = dict(self.commits[self.head])
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        text = json.dumps({name: data.hex() for name, data in files.items()})
        self.head = hashlib.sha1(f"{self.head}{text}".encode()).hexdigest()  # noqa: S324 -- as git
        self.commits[self.head] = files

    def commit_of(self, revision: str) -> str:
        """Return the commit that a branch or a commit's own name stands for."""
        return self.head if revision == "main" else revision


class Answer(http.server.BaseHTTPRequestHandler):
    """One request; the paths are those of the hub's API."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        path, name = urlsplit(self.path).path, self.server.repository
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/api/repos/create":
            self._json({"url": f"{self.server.url}/{name}"})
        elif path.startswith(f"/api/models/{name}/preupload/"):
            how = {"uploadMode": "regular", "shouldIgnore": False}
            self._json({"files": [{"path": f["path"]} | how for f in json.loads(body)["files"]]})
        elif path.startswith(f"/api/models/{name}/commit/"):
            self.server.commit([json.loads(line) for line in body.splitlines()])
            head = self.server.head
            self._json({"commitUrl": f"{self.server.url}/{name}/commit/{head}", "commitOid": head})
        else:
            self._refuse()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        for prefix, answer in (
            (f"/api/models/{self.server.repository}/revision/", self._revision),
            (f"/api/models/{self.server.repository}/tree/", self._tree),
            (f"/{self.server.repository}/resolve/", self._file),
        ):
            revision, _, name = path.removeprefix(prefix).partition("/")
            sha = self.server.commit_of(revision)
            if path.startswith(prefix) and sha in self.server.commits:
                answer(sha, name)
                return
        self._refuse()

    def do_HEAD(self) -> None:
        self.do_GET()

    def _revision(self, sha: str, _: str) -> None:
        siblings = [{"rfilename": name} for name in self.server.commits[sha]]
        self._json({"id": self.server.repository, "sha": sha, "siblings": siblings})

    def _tree(self, sha: str, _: str) -> None:
        files = self.server.commits[sha].items()
        self._json(
            [{"type": "file", "path": n, "size": len(d), "oid": _git_hash(d)} for n, d in files]
        )

    def _file(self, sha: str, name: str) -> None:
        data = self.server.commits[sha].get(name)
        if data is None:
            self._refuse()
        else:
            self._send(data, {"ETag": f'"{_git_hash(data)}"', "X-Repo-Commit": sha})

    def _json(self, values: object) -> None:
        self._send(json.dumps(values).encode(), {"Content-Type": "application/json"})

    def _refuse(self) -> None:
        self._send(b"{}", {"X-Error-Code": "RevisionNotFound"}, 404)

    def _send(self, data: bytes, headers: dict[str, str], code: int = 200) -> None:
        self.send_response(code)
        for key, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 -- git's own
