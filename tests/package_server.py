"""A package index on loopback, with the failures of real ones, for `test_manifest.py`."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import ssl
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


def wheel(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored, so that its size follows its contents
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def sdist(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class PackageServer:
    """Serves ``/simple/<project>/``, npm's ``/npm/<project>`` and ``/files/<file>``; a context manager.

    Attributes
    ----------
    projects : dict
        Project name -> list of its file names.
    files : dict
        File name -> contents.
    json : bool
        Whether listings are PEP 691 JSON instead of PEP 503 HTML.
    cuts : list of int
        For each coming file request the bytes after which the connection is cut.
    ranges : bool
        Whether Range is honoured.
    login : str or None
        ``user:password`` that every request must carry.
    token : str or None
        Instead of `login`, as a bearer token.
    open_files : bool
        Whether files need no login.
    broken : bool
        Whether npm's descriptions are not JSON.
    tarballs_at : str or None
        Start of the addresses of npm's tarballs; the default is ``/files`` of this server.
    requests : list of (str, str or None)
        Path and Range header of each request so far.
    """

    def __init__(self, tls: ssl.SSLContext | None = None):
        self.projects: dict[str, list[str]] = {}
        self.files: dict[str, bytes] = {}
        self.json = False
        self.cuts: list[int] = []
        self.ranges = True
        self.login: str | None = None
        self.token: str | None = None
        self.open_files = False
        self.broken = False
        self.tarballs_at: str | None = None
        self.requests: list[tuple[str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> PackageServer:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def index(self) -> str:
        return f"{self._scheme}://{self.host}/simple/"

    @property
    def npm(self) -> str:
        return f"{self._scheme}://{self.host}/npm/"

    def url(self, file: str) -> str:
        return f"{self._scheme}://{self.host}/files/{file}"

    def add(self, project: str, file: str, contents: bytes) -> None:
        self.projects.setdefault(project, []).append(file)
        self.files[file] = contents

    def file_requests(self) -> list[tuple[str, str | None]]:
        return [request for request in self.requests if request[0].startswith("/files/")]

    def _handler(server):  # `self` is the handler's below
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                server.requests.append((self.path, self.headers.get("Range")))
                wanted = _basic(server.login) if server.login else f"Bearer {server.token}" if server.token else None
                room, _, name = self.path.strip("/").partition("/")
                if wanted and self.headers.get("Authorization") != wanted and not (server.open_files and room == "files"):
                    return self.reply(401, b"", "text/plain")
                if room == "npm" and "/-/" in name:
                    return self.send_file(server.files[name.rpartition("/")[2]])
                if room == "npm" and unquote(name) in server.projects:
                    return self.reply(200, server.description(unquote(name)), "application/json")
                if room == "simple" and name in server.projects:
                    return self.reply(200, *server.listing(name))
                if room == "files" and unquote(name) in server.files:
                    return self.send_file(server.files[unquote(name)])
                return self.reply(404, b"", "text/plain")

            def reply(self, status, body, kind, **headers):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for header, value in headers.items():
                    self.send_header(header.replace("_", "-"), value)
                self.end_headers()
                cut = server.cuts.pop(0) if server.cuts and self.path.startswith("/files/") else None
                self.wfile.write(body[:cut])
                self.close_connection = cut is not None

            def send_file(self, contents):
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                start = int(wanted[1]) if wanted and server.ranges else 0
                if not start:
                    return self.reply(200, contents, "application/octet-stream")
                if start >= len(contents):
                    return self.reply(416, b"", "text/plain", Content_Range=f"bytes */{len(contents)}")
                span = f"bytes {start}-{len(contents) - 1}/{len(contents)}"
                return self.reply(206, contents[start:], "application/octet-stream", Content_Range=span)

        return Handler

    def description(self, project: str) -> bytes:
        if self.broken:
            return b"<html>"
        at = f"{self.tarballs_at}/{project}/-/" if self.tarballs_at else f"{self._scheme}://{self.host}/files/"
        versions = {file: {"dist": {"tarball": at + file}} for file in self.projects[project]}
        return json.dumps({"name": project, "versions": versions}).encode()

    def listing(self, project: str) -> tuple[bytes, str]:
        files = self.projects[project]
        hashes = {file: hashlib.sha256(self.files[file]).hexdigest() for file in files}
        if self.json:
            table = [{"filename": file, "url": self.url(file), "hashes": {"sha256": hashes[file]}} for file in files]
            answer = {"meta": {"api-version": "1.1"}, "name": project, "files": table}
            return json.dumps(answer).encode(), "application/vnd.pypi.simple.v1+json"
        links = "".join(f'<a href="../../files/{file}#sha256={hashes[file]}">{file}</a><br>' for file in files)
        return f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html"


def _basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()
