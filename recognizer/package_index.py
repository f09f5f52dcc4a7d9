"""Where the user's installer looks for packages, and the files that are there.

Weights come through the same door as the packages: the index, mirror or folder that pip or uv is set to use, with its
credentials and certificates. What is honoured:

- pip: ``PIP_INDEX_URL``, ``PIP_EXTRA_INDEX_URL``, ``PIP_FIND_LINKS``, ``PIP_NO_INDEX``, ``PIP_CERT``,
  ``PIP_TRUSTED_HOST``, ``PIP_PROXY``, ``PIP_CONFIG_FILE`` and the same keys in pip's configuration files;
- uv: ``UV_DEFAULT_INDEX``, ``UV_INDEX``, ``UV_INDEX_URL``, ``UV_EXTRA_INDEX_URL``, ``UV_FIND_LINKS``,
  ``UV_INSECURE_HOST``, ``UV_INDEX_<NAME>_USERNAME`` and ``_PASSWORD``, and the indexes of the user's and the system's
  uv.toml;
- both: credentials in a URL or in netrc, proxies, ``SSL_CERT_FILE``, ``REQUESTS_CA_BUNDLE``.

The trust is in the hash of what is fetched, so all places may be asked in turn. These settings belong to other
programs, which is why they are read here and not in `settings`.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

from .errors import FetchFailed, FetchTimeout

PYPI = "https://pypi.org/simple/"
#: seconds to connect, and to wait for the next bytes
TIMEOUT = (15, 60)
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"


@dataclass(frozen=True)
class IndexSettings:
    """What the user's installer is told.

    Attributes
    ----------
    indexes : tuple of str
        Base URLs of simple indexes, in the order in which they are asked; credentials may be in them.
    find_links : tuple of str
        Pages or folders (``file:`` URLs) that list files directly.
    cert : str or None
        File of certificates to trust; None leaves it to `requests`.
    trusted_hosts : frozenset of str
        Hosts, with or without port, whose certificate is not checked.
    proxy : str or None
    """

    indexes: tuple[str, ...] = (PYPI,)
    find_links: tuple[str, ...] = ()
    cert: str | None = None
    trusted_hosts: frozenset[str] = field(default_factory=frozenset)
    proxy: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> IndexSettings:
        """Read what pip and uv would read: `environ` (default: the process's) and their configuration files."""
        environ = os.environ if environ is None else environ
        pip, uv = _pip_options(environ), _uv_options(environ)
        main = [*uv["default"], *pip["index-url"][:1]]
        extra = [*uv["extra"], *pip["extra-index-url"]]
        switched_off = any(value.lower() in ("1", "true", "yes", "on") for value in pip["no-index"][:1])
        cert = [*pip["cert"][:1], *_ssl_cert_file(environ)]
        return cls(
            indexes=() if switched_off else tuple(dict.fromkeys([*(main or [PYPI]), *extra])),
            find_links=tuple(dict.fromkeys(_as_url(place) for place in [*pip["find-links"], *uv["find-links"]])),
            cert=next((path for path in cert if Path(path).exists()), None),
            trusted_hosts=frozenset([*pip["trusted-host"], *uv["insecure-host"]]),
            proxy=next(iter(pip["proxy"]), None),
        )


class PackageIndex:
    """The files of the places in `settings`. One `requests` session; not to be shared between threads."""

    def __init__(self, settings: IndexSettings | None = None):
        import requests

        self.settings = IndexSettings.from_environment() if settings is None else settings
        self._session = requests.Session()
        self._credentials = dict(filter(None, map(_credentials, (*self.settings.indexes, *self.settings.find_links))))

    def __enter__(self) -> PackageIndex:
        return self

    def __exit__(self, *_) -> None:
        self._session.close()

    def pages(self, project: str) -> list[str]:
        """URLs of the pages that may list files of `project`, in the order in which they are to be asked."""
        name = re.sub(r"[-_.]+", "-", project).lower()
        return [*self.settings.find_links, *(f"{index.rstrip('/')}/{name}/" for index in self.settings.indexes)]

    def links(self, page: str, filename: str) -> Iterator[str]:
        """URLs of `filename` on one of `pages`.

        Raises
        ------
        FetchFailed, FetchTimeout
        """
        base, hrefs = self._listing(page)
        for href in hrefs:
            url = urlsplit(urljoin(base, href))
            if unquote(url.path.rsplit("/", 1)[-1]) == filename:
                yield urlunsplit(url._replace(fragment=""))

    def get(self, url: str, headers: Mapping[str, str] | None = None, stream: bool = False):
        """GET with the user's credentials, certificates and proxy; any status is returned.

        Raises
        ------
        FetchFailed, FetchTimeout
        """
        import requests

        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        trusted = not self.settings.trusted_hosts.isdisjoint({host, parts.hostname})
        try:
            return self._session.get(
                urlunsplit(parts._replace(netloc=host)),
                headers=headers,
                stream=stream,
                timeout=TIMEOUT,
                auth=self._credentials.get(host),
                verify=False if trusted else self.settings.cert or True,
                proxies=dict.fromkeys(("http", "https"), self.settings.proxy) if self.settings.proxy else None,
            )
        except requests.Timeout:
            raise FetchTimeout(f"{host} did not answer in time") from None
        except (requests.RequestException, OSError) as error:
            raise FetchFailed(f"{host} could not be reached ({type(error).__name__})") from error

    def _listing(self, page: str) -> tuple[str, list[str]]:
        """The base and the links of a page; a folder is listed as if it were one."""
        if urlsplit(page).scheme == "file":
            return _listing_of_folder(file_path(page))
        answer = self.get(page, {"Accept": _ACCEPT})
        if answer.status_code != 200:
            raise FetchFailed(f"{urlsplit(answer.url).hostname} answered {answer.status_code}")
        if "json" in answer.headers.get("Content-Type", ""):
            try:
                return answer.url, [entry["url"] for entry in answer.json()["files"]]
            except (ValueError, KeyError, TypeError):
                raise FetchFailed(f"{urlsplit(answer.url).hostname} sent a listing that cannot be read") from None
        return _links_of_html(answer.text, answer.url)


def file_path(url: str) -> Path:
    """The path that a ``file:`` URL means."""
    return Path(url2pathname(urlsplit(url).path))


def _listing_of_folder(folder: Path) -> tuple[str, list[str]]:
    base = folder.absolute().as_uri()
    if folder.is_file():
        return _links_of_html(folder.read_text("utf-8", "replace"), base)
    if (folder / "index.html").is_file():
        return _links_of_html((folder / "index.html").read_text("utf-8", "replace"), base + "/")
    if not folder.is_dir():
        raise FetchFailed("the folder of packages is not there")
    return base + "/", [quote(entry.name) for entry in folder.iterdir()]


def _links_of_html(text: str, url: str) -> tuple[str, list[str]]:
    page = _Links()
    page.feed(text)
    return urljoin(url, page.base), page.hrefs


class _Links(HTMLParser):
    """The links of a PEP 503 page, and its base."""

    def __init__(self):
        super().__init__()
        self.base = ""
        self.hrefs: list[str] = []

    def handle_starttag(self, tag, attrs):
        href = dict(attrs).get("href")
        if tag == "base" and href and not self.base:
            self.base = href
        elif tag == "a" and href:
            self.hrefs.append(href)


def _credentials(url: str) -> tuple[str, tuple[str, str]] | None:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return None
    name, _, password = user.partition(":")
    return host, (unquote(name), unquote(password))


def _as_url(place: str) -> str:
    return place if "://" in place or place.startswith("file:") else Path(place).expanduser().absolute().as_uri()


def _ssl_cert_file(environ: Mapping[str, str]) -> list[str]:
    """uv's name for a file of certificates, unless `requests` has its own."""
    if environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE"):
        return []
    return [environ["SSL_CERT_FILE"]] if environ.get("SSL_CERT_FILE") else []


def _pip_options(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """pip's options, strongest source first: environment, then configuration files from the nearest to the farthest."""
    files = configparser.RawConfigParser(strict=False)
    for path in _pip_files(environ):
        try:
            files.read(path, "utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
    options = {}
    names = ("index-url", "extra-index-url", "find-links", "no-index", "cert", "trusted-host", "proxy")
    for name in names:
        found = [environ.get("PIP_" + name.upper().replace("-", "_"), "")]
        found += [files.get(section, name, fallback="") for section in ("download", "install", "global")]
        options[name] = [value for text in found for value in (text.split() if name != "cert" else [text]) if value]
    return options


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    """pip's configuration files, weakest first."""
    import platformdirs

    own = environ.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return []
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    home = Path(environ.get("HOME") or Path.home())
    user = Path(platformdirs.user_config_dir("pip", appauthor=False, roaming=True))
    files = [Path(platformdirs.site_config_dir("pip", appauthor=False)) / name, Path("/etc") / name]
    files += [home / ".pip" / name, home / ".config" / "pip" / name, user / name, Path(sys.prefix) / name]
    return files + ([Path(own)] if own else [])


def _uv_options(environ: Mapping[str, str]) -> dict[str, list[str]]:
    files = _uv_files(environ)
    named = [_named(entry, environ) for entry in environ.get("UV_INDEX", "").split()]
    default = [environ.get("UV_DEFAULT_INDEX", ""), environ.get("UV_INDEX_URL", "")]
    default += [entry["url"] for table in files for entry in table.get("index", []) if entry.get("default")]
    default += [table["index-url"] for table in files if "index-url" in table]
    extra = named + environ.get("UV_EXTRA_INDEX_URL", "").split()
    for table in files:
        extra += [_named(entry, environ) for entry in table.get("index", []) if not entry.get("default")]
        extra += table.get("extra-index-url", [])
    return {
        "default": [_named(url, environ) for url in default if url][:1],
        "extra": extra,
        "find-links": [place for place in environ.get("UV_FIND_LINKS", "").split(",") if place],
        "insecure-host": environ.get("UV_INSECURE_HOST", "").split(),
    }


def _named(entry: str | dict, environ: Mapping[str, str]) -> str:
    """The URL of an index given as ``name=url`` or as a table, with the credentials that uv keeps by its name."""
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


def _uv_files(environ: Mapping[str, str]) -> list[dict]:
    """uv's configuration files, nearest first."""
    if environ.get("UV_NO_CONFIG"):
        return []
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    own = environ.get("UV_CONFIG_FILE", "")
    home = Path(environ.get("HOME") or Path.home())
    user = Path(environ.get("APPDATA") or environ.get("XDG_CONFIG_HOME") or home / ".config")
    tables = []
    for path in [Path(own)] if own else [user / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]:
        try:
            table = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        tables += [table, table.get("pip", {})]
    return tables
