"""URLs that may be fetched: http and https only, parsed into host, port and path."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from recognizer.core.errors import InvalidUrl
from recognizer.core.origins import Address

_MAX_URL = 8192
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class WebUrl:
    """A parsed and checked URL.

    Attributes
    ----------
    scheme : {"http", "https"}
    host : str
        In ASCII, without brackets and without a final dot.
    port : int
    path : str
        Percent-encoded, with the query if there is one.
    literal : Address or None
        The address, if the host is written as one.
    """

    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None

    @property
    def authority(self) -> str:
        """The value of the ``Host`` header: the host, and the port unless it is the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(url: str) -> WebUrl:
    """Parse a URL as a browser does, but refuse malformed URLs that browsers repair.

    Such URLs (backslashes, user names, control characters) are used to deceive filters.

    Raises
    ------
    InvalidUrl
    """
    if not isinstance(url, str) or not 0 < len(url.strip()) <= _MAX_URL:
        raise InvalidUrl(f"expected a URL of 1 to {_MAX_URL} characters")
    url = url.strip(" \t\r\n")
    if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", url):
        raise InvalidUrl("expected a URL without control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidUrl("expected a URL with a readable host and port") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidUrl("expected a URL that begins with http:// or https://")
    if not parts.hostname or "@" in parts.netloc or "\\" in parts.netloc + parts.path:
        raise InvalidUrl("expected a URL with a host, and without user names and backslashes")
    if port == 0 or not re.fullmatch(r"[^:]*|.*\]|.*:[0-9]{0,5}", parts.netloc, re.ASCII):
        raise InvalidUrl("expected a port from 1 to 65535")
    host, literal = parse_host(parts.netloc)
    path = _remove_dot_segments(quote(parts.path or "/", safe="/%:@!$&'()*+,;=~[]|"))
    if parts.query:
        path += "?" + quote(parts.query, safe="/%?:@!$&()*+,;=~[]|{}^`\\")
    return WebUrl(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], path, literal)


def parse_host(netloc: str) -> tuple[str, Address | None]:
    """The host of ``host[:port]`` in ASCII, and its address if it is written as one.

    An IPv4 address is recognised in every notation that some resolver accepts, such as ``0x7f.1``.

    Raises
    ------
    InvalidUrl
    """
    if netloc.startswith("["):
        try:
            address = ipaddress.IPv6Address(netloc[1 : netloc.index("]")])
        except ValueError:
            raise InvalidUrl("expected an IPv6 address between brackets") from None
        if address.scope_id:
            raise InvalidUrl("expected an IPv6 address without a zone")
        return str(address), address
    name = _to_ascii(netloc.partition(":")[0]).removesuffix(".")
    if not re.fullmatch(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", name) or len(name) > 253:
        raise InvalidUrl("expected a host name of letters, digits, dots and hyphens")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", name.rpartition(".")[2]):  # the URL Standard's "ends in a number"
        literal = _parse_ipv4(name)
        return str(literal), literal
    return name, None


def _to_ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    import idna

    try:
        return idna.encode(host, uts46=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        # digits and dots of other scripts are no valid name, but may form an address
        try:
            mapped = idna.uts46_remap(host)
        except (idna.IDNAError, UnicodeError):
            mapped = host
        if mapped.isascii():
            return mapped.lower()
        raise InvalidUrl("expected a host name that can be written in ASCII") from None


def _parse_ipv4(text: str) -> ipaddress.IPv4Address:
    """An address as inet_aton reads it: one to four decimal, octal (0...) or hexadecimal (0x...) numbers.

    The last number fills the remaining bytes.
    """
    numbers = []
    for part in text.split("."):
        base, digits = (16, part[2:] or "0") if part.startswith("0x") else (8 if part.startswith("0") else 10, part)
        try:
            numbers.append(int(digits if digits.isalnum() else "no number", base))
        except ValueError:
            raise InvalidUrl("expected an IPv4 address of four numbers") from None
    if len(numbers) > 4 or max(numbers[:-1], default=0) > 255 or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise InvalidUrl("expected an IPv4 address of four numbers")
    value = numbers[-1] + sum(number << 24 - 8 * i for i, number in enumerate(numbers[:-1]))
    return ipaddress.IPv4Address(value)


def _remove_dot_segments(path: str) -> str:
    """Resolve the segments ``.`` and ``..``, also percent-encoded ones, as in RFC 3986, section 5.2.4."""
    output: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        plain = segment.lower().replace("%2e", ".")
        if plain == "..":
            del output[-1:]
        if plain not in (".", ".."):
            output.append(segment)
        elif number == len(segments) - 1:
            output.append("")
    return "/" + "/".join(output)
