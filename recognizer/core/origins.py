"""Client addresses, proxies, and the headers Host and Origin: pure functions."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_PORT = re.compile(r"[0-9]{1,5}")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
#: Addresses and hosts of requests that are remembered, since parsing one takes as long as JSON of a reply; a client asks again
#: and again.
_REMEMBERED = 256


@lru_cache(_REMEMBERED)
def parse_address(text: str) -> Address:
    """Parse an IP address; an IPv4-mapped IPv6 address becomes the IPv4 address.

    Raises
    ------
    ValueError
    """
    found = ipaddress.ip_address(text.strip().strip("[]").split("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


@lru_cache(_REMEMBERED)
def _split(authority: str) -> tuple[str, str]:
    """Split ``host[:port]`` into the host, an IPv6 address without brackets, and the port or an empty text."""
    text = authority.strip().lower()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("expected a host and optionally a port")
        host, port = str(ipaddress.IPv6Address(host)), rest[1:]
    else:
        host, _, port = text.partition(":")
        host = host.removesuffix(".")
        if not _NAME.fullmatch(host) or len(host) > 253:
            raise ValueError("expected a host and optionally a port")
        if re.fullmatch(r"[0-9.]+|0x[0-9a-f]+", host):
            host = str(ipaddress.IPv4Address(host))
    if port and not (_PORT.fullmatch(port) and int(port) < 65536):
        raise ValueError("expected a port below 65536")
    return host, port


def normal_host(text: str) -> str:
    """The host of a ``Host`` header, without its port, in lower case.

    Raises
    ------
    ValueError
        The text is neither a name nor an address. Addresses in unusual notations (``0x7f000001``, ``127.1``) are refused.
    """
    return _split(text)[0]


def normal_origin(text: str) -> str:
    """An origin, ``scheme://host[:port]``, in canonical form, so that origins can be compared.

    Raises
    ------
    ValueError
    """
    parts = urlsplit(text.strip())
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("expected an origin such as https://app.example.org")
    host, port = _split(parts.netloc)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in ("", _DEFAULT_PORTS[parts.scheme]) else f":{port}")


def origin_of_url(url: str) -> str:
    """The origin of a page's URL.

    Raises
    ------
    ValueError
    """
    parts = urlsplit(url)
    return normal_origin(f"{parts.scheme}://{parts.netloc}")


@lru_cache(_REMEMBERED)
def is_address(host: str) -> bool:
    """Whether a host, as returned by `normal_host`, is an IP address, which unlike a name cannot be redirected."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host always means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and parse_address(host).is_loopback


class Networks:
    """A set of networks, and optionally Unix sockets.

    Parameters
    ----------
    names : iterable of str
        Networks in CIDR form, and the word ``unix`` for peers that connect over a Unix socket.
    """

    def __init__(self, names: Iterable[str]):
        names = tuple(names)
        self.unix = "unix" in names
        self.networks = tuple(ipaddress.ip_network(name) for name in names if name != "unix")

    def __contains__(self, peer: Address | None) -> bool:
        if peer is None:
            return self.unix
        return any(peer.version == network.version and peer in network for network in self.networks)


def client_address(peer: Address | None, forwarded: str, trusted: Networks) -> Address | None:
    """The client's address: the last address in the chain of proxies that is not a trusted proxy.

    Parameters
    ----------
    peer : address or None
        The other end of the connection; None for a Unix socket.
    forwarded : str
        ``X-Forwarded-For``: each proxy appends the address of its own client.

    Raises
    ------
    ValueError
        A trusted proxy sent something that is not an address.
    """
    chain = [part for part in forwarded.split(",") if part.strip()]
    while peer in trusted and chain:
        peer = _hop(chain.pop())
    return peer


def _hop(text: str) -> Address:
    """Parse one entry of ``X-Forwarded-For``; some proxies add the port."""
    try:
        return parse_address(text)
    except ValueError:
        return parse_address(_split(text)[0])


def rate_group(found: Address | None) -> str:
    """The key under which requests of an address are counted: for IPv6 the /64 network, which usually is one customer."""
    if found is None:
        return "unix"
    if found.version == 6:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
