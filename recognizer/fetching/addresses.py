"""Network addresses: which ones belong to the public Internet, and which ones a host name has.

The ranges that are not public are those of IANA's special-purpose address registries, written out so that every Python
version refuses the same ones.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from recognizer.core.errors import FetchFailed, FetchTimeout
from recognizer.core.origins import Address

#: A function that is called like `socket.getaddrinfo` and returns the same.
Resolver = Callable[..., list[Any]]
#: Given a function, returns a context manager; within its block, another thread may call the function to end a wait.
Interruption = Callable[[Callable[[], None]], AbstractContextManager[Any]]

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # the only assigned global unicast range; the rest is special or unused
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is reached


def effective_address(address: Address) -> Address:
    """The address that packets arrive at: the IPv4 address inside a mapped or NAT64 address, else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public Internet.

    6to4 and Teredo addresses, which wrap an IPv4 address, do not count as public.
    """
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)


def resolve(
    host: str,
    port: int,
    timeout: float | None = None,
    *,
    resolver: Resolver | None = None,
    interruption: Interruption = nullcontext,
) -> list[Address]:
    """The addresses of a host name, in the resolver's order and each once; at least one.

    The resolver of the operating system has no time limit and cannot be interrupted. It is called in a thread of its own,
    which is left running if it does not answer in time.

    Parameters
    ----------
    timeout : float, optional
        Maximum wait in seconds; unlimited by default.
    resolver : callable
    interruption : callable
        Lets another thread end the wait, such as `Stopper.calling` of a camera.

    Raises
    ------
    FetchFailed
        The name has no address, or the wait was interrupted.
    FetchTimeout
        There was no answer within `timeout`.
    """
    answers: list[list[Any] | Exception] = []
    done = threading.Event()

    def ask() -> None:
        try:
            answers.append((resolver or socket.getaddrinfo)(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # any failure: the caller must not wait for the timeout
            answers.append(error)
        done.set()

    with interruption(done.set):
        threading.Thread(target=ask, name="resolve", daemon=True).start()
        woken = done.wait(None if timeout is None else max(0.0, timeout))
    if not answers:
        if woken:
            raise FetchFailed(f"looking up {host} was interrupted")
        raise FetchTimeout(f"expected an address of {host} within {timeout:g} seconds, got none")
    answer = answers[0]
    if isinstance(answer, Exception) or not answer:
        raise FetchFailed(f"there is no host {host}")
    found = dict.fromkeys(str(sockaddr[0]).partition("%")[0] for *_, sockaddr in answer)
    try:
        return [ipaddress.ip_address(text) for text in found]
    except ValueError:
        raise FetchFailed(f"there is no usable address of {host}") from None
