"""The files of package indexes: listings (HTML, JSON or folders) and downloads with the user's credentials.

unearth, which finds packages as pip does, was considered. It does not read any configuration, gives up when one of several
indexes cannot be reached, does not follow redirects, cannot resume a download, and asks for passwords on the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

from recognizer.core.errors import FetchFailed, FetchTimeout
from recognizer.core.trust import trusting_session
from recognizer.weights.index_settings import IndexSettings

if TYPE_CHECKING:
    from requests import Response

#: Seconds to connect, and to wait for the next bytes.
TIMEOUT = (15, 60)
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"


class PackageIndex:
    """The package indexes of `settings` (default: the user's configuration).

    A context manager that owns sessions of `requests`; it must not be shared between threads.
    """

    def __init__(self, settings: IndexSettings | None = None) -> None:
        import requests

        self.settings = IndexSettings.from_environment() if settings is None else settings
        self._usual, self._other = trusting_session(), requests.Session()
        self._credentials = dict(filter(None, map(_credentials, (*self.settings.indexes, *self.settings.find_links))))

    def __enter__(self) -> PackageIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._usual.close()
        self._other.close()

    def pages(self, project: str) -> list[str]:
        """URLs of the pages that may list files of `project`, in the order in which they should be tried."""
        name = re.sub(r"[-_.]+", "-", project).lower()
        return [*self.settings.find_links, *(f"{index.rstrip('/')}/{name}/" for index in self.settings.indexes)]

    def links(self, page: str, filename: str) -> Iterator[str]:
        """URLs of the file `filename` on one of `pages`.

        Raises
        ------
        FetchFailed, FetchTimeout
        """
        base, hrefs = self._listing(page)
        for href in hrefs:
            url = urlsplit(urljoin(base, href))
            if unquote(url.path.rsplit("/", 1)[-1]) == filename:
                yield urlunsplit(url._replace(fragment=""))

    def get(self, url: str, headers: Mapping[str, str] | None = None, stream: bool = False) -> Response:
        """A GET request with the user's credentials, certificates and proxy; a reply of any status is returned.

        Raises
        ------
        FetchFailed, FetchTimeout
        """
        import requests

        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        trusted = not self.settings.trusted_hosts.isdisjoint({host, parts.hostname})
        session = self._other if trusted or self.settings.cert else self._usual
        try:
            return session.get(
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
        """The base URL and the links of a page, or the files of a folder."""
        if urlsplit(page).scheme == "file":
            return _listing_of_folder(file_path(page))
        answer = self.get(page, {"Accept": _ACCEPT})
        if answer.status_code != 200:
            raise FetchFailed(f"{urlsplit(answer.url).hostname} answered {answer.status_code}")
        if "json" in answer.headers.get("Content-Type", ""):
            try:
                return answer.url, [entry["url"] for entry in answer.json()["files"]]
            except (ValueError, KeyError, TypeError):
                raise FetchFailed(f"{urlsplit(answer.url).hostname} sent a malformed listing") from None
        return _links_of_html(answer.text, answer.url)


def file_path(url: str) -> Path:
    """The path of a ``file:`` URL."""
    return Path(url2pathname(urlsplit(url).path))


def _listing_of_folder(folder: Path) -> tuple[str, list[str]]:
    base = folder.absolute().as_uri()
    if folder.is_file():
        return _links_of_html(folder.read_text("utf-8", "replace"), base)
    if (folder / "index.html").is_file():
        return _links_of_html((folder / "index.html").read_text("utf-8", "replace"), base + "/")
    if not folder.is_dir():
        raise FetchFailed("the folder of packages does not exist")
    return base + "/", [quote(entry.name) for entry in folder.iterdir()]


def _links_of_html(text: str, url: str) -> tuple[str, list[str]]:
    page = _Links()
    page.feed(text)
    return urljoin(url, page.base), page.hrefs


class _Links(HTMLParser):
    """The base URL and the links of a PEP 503 page."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "base" and href and not self.base:
            self.base = href
        elif tag == "a" and href:
            self.hrefs.append(href)


def _credentials(url: str) -> tuple[str, tuple[str, str]] | None:
    """The host of a URL, and the user name and password in the URL; None if there are none."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return None
    name, _, password = user.partition(":")
    return host, (unquote(name), unquote(password))
