"""Clients that are generated from /openapi.json, and the programs of docs/howto/generated-clients.md: run by hand, two minutes.

::

    python -m tests.manual.generated_clients

Installs the pinned generators into a temporary folder, generates the clients from what a server with keys describes, and runs
the programs of the page against it. Needs Java 11 or newer and npm. Ends with 0 if each does what the page says.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from .. import photos as real_photos
from ..e2e import pictures
from ..e2e.serving import ROOT, Server

_PAGE = (ROOT / "docs" / "howto" / "generated-clients.md").read_text("utf-8")
_NAME = "Ada Lovelace"


def blocks(language: str = "") -> list[str]:
    """The blocks of a language on the page; without one, those of commands."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


class Workshop:
    """A folder with an environment, a server's description and its photos, in which commands of the page are run."""

    def __init__(self, folder: Path, server: Server, key: str):
        self.folder, self.server = folder, server
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        bin = folder / "venv" / "bin"
        self.environ = {**os.environ, "PATH": f"{bin}:{os.environ['PATH']}", "FACES_URL": server.url, "FACES_KEY": key}
        reply = server.get("/openapi.json")
        (folder / "openapi.json").write_bytes(reply.content)
        paths = reply.json()["paths"]
        gets = {path: shown["get"] for path, shown in paths.items() if "get" in shown}
        self.streams = {f"GET {path}" for path, shown in gets.items() if "multipart/" in json.dumps(shown["responses"])}

    def run(self, command: str) -> str:
        """What a command prints to both streams."""
        print("  " + command, flush=True)
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def page(self, beginning: str, drop: str = "curl ") -> list[str]:
        """Run the block of commands that begins with something on the page, but for those that begin with `drop`."""
        (commands,) = (block for block in blocks() if block.startswith(beginning))
        return [self.run(command) for command in commands.splitlines() if not command.startswith(drop)]

    def check(self, command: str) -> None:
        """A program does on the server what the page says, and prints it."""
        printed = self.run(command)
        assert all(f"{what}:" in printed for what in ("recognised", "enrolled", "deleted")), printed
        assert printed.count(_NAME) == 3, printed
        assert self.server.people() == {}


def main() -> None:
    faces = real_photos.fetch_photos("obama.jpg", "obama2.jpg")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(folder / "recognizer", camera="none")
        made = server.cli("--json", "keys", "add", "generated", "--role", "write")
        key = json.loads(made.stdout)["key"]
        server.always = {"headers": {"X-Api-Key": key}}
        with server:
            shop = Workshop(folder, server, key)
            for place, photo in (("one.jpg", "obama.jpg"), ("two.jpg", "obama2.jpg")):
                (folder / place).write_bytes(pictures.smaller(faces[photo].read_bytes(), 800))
            shop.page("pip install openapi-python-client")
            first, second = blocks("python")
            print("openapi-python-client")
            (folder / "config.yaml").write_text(blocks("yaml")[0])
            (folder / "first.py").write_text(first)
            (said, _) = shop.page("openapi-python-client generate")
            missing = set(re.findall(r"^WARNING parsing (.*?) within", said, re.MULTILINE))
            assert missing == shop.streams, said
            assert "will not be generated" not in said, said
            shop.check("python first.py one.jpg two.jpg")
            print("openapi-generator, python")
            (folder / "second.py").write_text(second)
            shop.run("rm -r client")
            (said, _) = shop.page("openapi-generator-cli generate -i openapi.json -g python")
            assert " ERROR " not in said, said
            shop.check("python second.py one.jpg two.jpg")
            print("openapi-generator, typescript-fetch")
            (folder / "people.ts").write_text(blocks("ts")[0])
            shop.page("openapi-generator-cli generate -i openapi.json -g typescript-fetch", drop="node ")
            shop.check("node out/people.js one.jpg two.jpg")
    print("each client does as the page says")


if __name__ == "__main__":
    main()
