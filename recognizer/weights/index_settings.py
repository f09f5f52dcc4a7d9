"""The package indexes that pip or uv is configured to use.

Weights are fetched from the same index, mirror or folder as the packages, with the same credentials and certificates. The
following configuration is read:

- pip: ``PIP_INDEX_URL``, ``PIP_EXTRA_INDEX_URL``, ``PIP_FIND_LINKS``, ``PIP_NO_INDEX``, ``PIP_CERT``,
  ``PIP_TRUSTED_HOST``, ``PIP_PROXY``, ``PIP_CONFIG_FILE``, and the same keys in pip's configuration files;
- uv: ``UV_DEFAULT_INDEX``, ``UV_INDEX``, ``UV_INDEX_URL``, ``UV_EXTRA_INDEX_URL``, ``UV_FIND_LINKS``,
  ``UV_INSECURE_HOST``, ``UV_INDEX_<NAME>_USERNAME`` and ``_PASSWORD``, and the indexes in the user's and the system's
  uv.toml;
- both: credentials in a URL or in netrc, proxies, ``SSL_CERT_FILE``, ``REQUESTS_CA_BUNDLE``.

These settings belong to other programs, which is why they are read here and not in `settings`. No library reads them: pip has
no public interface, and unearth, which finds packages, leaves the configuration to its caller.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from recognizer.core.toml import parse_toml

PYPI = "https://pypi.org/simple/"


@dataclass(frozen=True)
class IndexSettings:
    """Where packages are looked up.

    Attributes
    ----------
    indexes : tuple of str
        Base URLs of simple indexes, in the order in which they are tried; they may contain credentials.
    find_links : tuple of str
        URLs of pages or folders (``file:``) that list files of any project.
    cert : str or None
        File of the trusted certificate authorities; None for the system's and certifi's.
    trusted_hosts : frozenset of str
        Hosts, with or without a port, whose certificates are not verified.
    proxy : str or None
        URL of a proxy for all requests.
    """

    indexes: tuple[str, ...] = (PYPI,)
    find_links: tuple[str, ...] = ()
    cert: str | None = None
    trusted_hosts: frozenset[str] = field(default_factory=frozenset)
    proxy: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> IndexSettings:
        """Read `environ` (default: the process's environment) and the configuration files of pip and uv.

        The indexes of both are combined: trust comes from the hash of a file, so all places may be tried in turn.
        """
        environ = os.environ if environ is None else environ
        pip, uv = _pip_options(environ), _uv_options(environ)
        main = [*uv["default"], *pip["index-url"][:1]]
        extra = [*uv["extra"], *pip["extra-index-url"]]
        no_index = any(value.lower() in ("1", "true", "yes", "on") for value in pip["no-index"][:1])
        cert = [*pip["cert"][:1], *_ssl_cert_file(environ)]
        return cls(
            indexes=() if no_index else tuple(dict.fromkeys([*(main or [PYPI]), *extra])),
            find_links=tuple(dict.fromkeys(_as_url(place) for place in [*pip["find-links"], *uv["find-links"]])),
            cert=next((path for path in cert if Path(path).exists()), None),
            trusted_hosts=frozenset([*pip["trusted-host"], *uv["insecure-host"]]),
            proxy=next(iter(pip["proxy"]), None),
        )


def _as_url(place: str) -> str:
    return place if "://" in place or place.startswith("file:") else Path(place).expanduser().absolute().as_uri()


def _ssl_cert_file(environ: Mapping[str, str]) -> list[str]:
    """uv's variable for a file of certificates, unless those of `requests` are set."""
    if environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE"):
        return []
    return [environ["SSL_CERT_FILE"]] if environ.get("SSL_CERT_FILE") else []


def _pip_options(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """The values of pip's options, highest precedence first: the environment, then the configuration files."""
    files = configparser.RawConfigParser(strict=False)
    for path in _pip_files(environ):
        try:
            files.read(path, "utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
    options: dict[str, list[str]] = {}
    names = ("index-url", "extra-index-url", "find-links", "no-index", "cert", "trusted-host", "proxy")
    for name in names:
        found = [environ.get("PIP_" + name.upper().replace("-", "_"), "")]
        found += [files.get(section, name, fallback="") for section in ("download", "install", "global")]
        options[name] = [value for text in found for value in (text.split() if name != "cert" else [text]) if value]
    return options


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Paths of pip's configuration files, lowest precedence first."""
    import platformdirs

    explicit = environ.get("PIP_CONFIG_FILE", "")
    if explicit == os.devnull:
        return []
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    home = Path(environ.get("HOME") or Path.home())
    user = Path(platformdirs.user_config_dir("pip", appauthor=False, roaming=True))
    files = [Path(platformdirs.site_config_dir("pip", appauthor=False)) / name, Path("/etc") / name]
    files += [home / ".pip" / name, home / ".config" / "pip" / name, user / name, Path(sys.prefix) / name]
    return files + ([Path(explicit)] if explicit else [])


def _uv_options(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """The values of uv's options, highest precedence first."""
    files = _uv_files(environ)
    extra = [_with_credentials(entry, environ) for entry in environ.get("UV_INDEX", "").split()]
    default = [environ.get("UV_DEFAULT_INDEX", ""), environ.get("UV_INDEX_URL", "")]
    default += [entry["url"] for table in files for entry in table.get("index", []) if entry.get("default")]
    default += [table["index-url"] for table in files if "index-url" in table]
    extra += environ.get("UV_EXTRA_INDEX_URL", "").split()
    for table in files:
        extra += [_with_credentials(entry, environ) for entry in table.get("index", []) if not entry.get("default")]
        extra += table.get("extra-index-url", [])
    return {
        "default": [_with_credentials(url, environ) for url in default if url][:1],
        "extra": extra,
        "find-links": [place for place in environ.get("UV_FIND_LINKS", "").split(",") if place],
        "insecure-host": environ.get("UV_INSECURE_HOST", "").split(),
    }


def _with_credentials(entry: str | dict[str, Any], environ: Mapping[str, str]) -> str:
    """The URL of an index, given as ``name=url`` or as a table, with the credentials that uv reads by the index's name."""
    name: str
    url: str
    if isinstance(entry, dict):
        name, url = entry.get("name", ""), entry["url"]
    else:
        found = re.match(r"([A-Za-z0-9._-]+)=(.*)", entry)
        name, url = found.groups() if found else ("", entry)
    variable = "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
    user, password = environ.get(variable + "_USERNAME", ""), environ.get(variable + "_PASSWORD", "")
    if not name or not (user or password) or "@" in urlsplit(url).netloc:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{quote(user, '')}:{quote(password, '')}@{parts.netloc}"))


def _uv_files(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """The tables of uv's configuration files, highest precedence first."""
    if environ.get("UV_NO_CONFIG"):
        return []
    explicit = environ.get("UV_CONFIG_FILE", "")
    home = Path(environ.get("HOME") or Path.home())
    user = Path(environ.get("APPDATA") or environ.get("XDG_CONFIG_HOME") or home / ".config")
    tables = []
    for path in [Path(explicit)] if explicit else [user / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]:
        try:
            table = parse_toml(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        tables += [table, table.get("pip", {})]
    return tables
