"""Podman in a folder of its own, and images for it from Debian's packages, where no registry of images can be reached.

The system that :mod:`tests.manual.container` makes is the base of all of them. An image of another project is replaced by one
that has its name, its command and its paths, with the program from Debian.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .container import Images, run

NEEDED = ("mmdebstrap", "buildah", "podman", "runc", "conmon", "catatonit")
#: Where Debian has the programs by which containers find each other by name; not in PATH.
HELPERS = Path("/usr/lib/podman")

#: Some machines let no process raise limits, which Podman always asks for.
_RUNTIME = f'''#!{sys.executable}
"""runc, without limits of resources for each process."""
import json, os, sys

words = sys.argv[1:]
given = dict(zip(words, words[1:]))
path = given.get("--process") or (os.path.join(given.get("--bundle", "."), "config.json") if "create" in words else None)
if path:
    with open(path) as file:
        spec = json.load(file)
    spec.get("process", spec).pop("rlimits", None)
    with open(path, "w") as file:
        json.dump(spec, file)
os.execvp("runc", ["runc", *words])
'''

_APT = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends"

#: In place of the image's script: makes a cluster in an empty folder, for one user with a password, and becomes the server.
_POSTGRES = """#!/bin/sh
set -eu
PATH=/usr/lib/postgresql/17/bin:$PATH
as_postgres="setpriv --reuid postgres --regid postgres --clear-groups"
mkdir -p "$PGDATA" /var/run/postgresql
chown postgres:postgres "$PGDATA" /var/run/postgresql
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    umask 077
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    chown postgres /tmp/password
    $as_postgres initdb -D "$PGDATA" -U "$POSTGRES_USER" -E UTF8 \\
        --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "create database \\"$POSTGRES_DB\\";" | $as_postgres postgres --single -D "$PGDATA" postgres
fi
exec $as_postgres postgres -D "$PGDATA" -c listen_addresses='*'
"""

#: The start of an image's name -> its instructions, and files beside them.
STAND_INS: dict[str, tuple[str, dict[str, str]]] = {
    "pgvector/pgvector:pg17": (
        f"""RUN {_APT} postgresql-common && sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' \
            /etc/postgresql-common/createcluster.conf && {_APT} postgresql-17 postgresql-17-pgvector
ENV PGDATA=/var/lib/postgresql/data PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY entrypoint.sh /usr/local/bin/docker-entrypoint.sh
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]
""",
        {"entrypoint.sh": _POSTGRES},
    ),
    # moto's server in place of MinIO, which Debian does not have: it stores in memory, and listens to the same port
    "quay.io/minio/minio:": (
        """RUN python -m venv /opt/moto && /opt/moto/bin/pip install -q "moto[server]>=5.1,<6"
EXPOSE 9000
VOLUME /data
ENTRYPOINT ["sh", "-c", "exec /opt/moto/bin/moto_server -H 0.0.0.0 -p 9000"]
""",
        {},
    ),
    "haproxy:": (
        f"""RUN {_APT} haproxy
USER haproxy
STOPSIGNAL SIGUSR1
CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
""",
        {},
    ),
    "prom/prometheus:": (
        f"""RUN {_APT} prometheus && install -d -o nobody /prometheus
USER nobody
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
""",
        {},
    ),
}


def needs(*more: str) -> None:
    """End with a sentence where something is missing."""
    missing = [name for name in (*NEEDED, *more) if shutil.which(name) is None]
    missing += [name for name in ("netavark", "aardvark-dns") if not (HELPERS / name).exists()]
    if missing or os.geteuid() != 0:
        sys.exit(f"needs root and {', '.join(missing) or 'nothing else'}")


def until(done: Callable[[], object], seconds: float = 120, pause: float = 0.5) -> float:
    """Wait until something is true; after how many seconds it was."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() - begun < seconds, done
        time.sleep(pause)
    return time.monotonic() - begun


class Podman:
    """Containers, images, volumes and networks below one folder."""

    def __init__(self, folder: Path):
        self.folder, self.images = folder, Images(folder)
        runtime = folder / "runc-without-limits"
        runtime.write_text(_RUNTIME)
        runtime.chmod(0o755)
        (folder / "containers.conf").write_text(
            f'[engine]\nruntime = "{runtime.name}"\nruntime_supports_json = ["{runtime.name}"]\ncgroup_manager = "cgroupfs"\n'
            f'events_logger = "file"\ntmp_dir = "{folder}/run/libpod"\nvolume_path = "{folder}/volumes"\n'
            f'[engine.runtimes]\n{runtime.name} = ["{runtime}"]\n[network]\nnetwork_backend = "netavark"\n'
            f'network_config_dir = "{folder}/networks"\n'
        )
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
        )
        self.environ = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }

    def __call__(self, *command: str | Path) -> str:
        return run("podman", *command, env=self.environ)

    def try_(self, *command: str | Path) -> subprocess.CompletedProcess:
        """Whatever becomes of a command, with its output and its errors."""
        words = ["podman", *(str(word) for word in command)]
        return subprocess.run(words, env=self.environ, capture_output=True, text=True, check=False)

    def recognizer(self, *names: str) -> None:
        """Build the product's image with the packages for PostgreSQL, under these names."""
        self.images.base()
        self.images.build_image(*names)

    def stand_in(self, image: str) -> None:
        """Make an image that takes the place of another project's."""
        text, files = next(each for start, each in STAND_INS.items() if image.startswith(start))
        full = image if image.split("/")[0].count(".") else f"docker.io/{image if '/' in image else 'library/' + image}"
        self.make(full, f"FROM docker.io/library/python:3.13-slim\n{text}", files)

    def make(self, image: str, text: str, files: dict[str, str] | None = None) -> None:
        """Build an image from instructions and files beside them."""
        folder = self.folder / "stand-in"
        folder.mkdir(exist_ok=True)
        for name, content in {**(files or {}), "Containerfile": text}.items():
            (folder / name).write_text(content)
        self.images.buildah("bud", "-q", "--layers", "--pull-never", "--format", "docker", "-t", image, folder)

    def inspect(self, name: str) -> dict:
        return json.loads(self("container", "inspect", name))[0]

    def address(self, name: str) -> str:
        """The address of a container in its network, which this machine can reach."""
        (network,) = self.inspect(name)["NetworkSettings"]["Networks"].values()
        return network["IPAddress"]

    def log(self, name: str) -> str:
        done = self.try_("logs", name)
        return done.stdout + done.stderr
