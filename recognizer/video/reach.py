"""Which addresses a camera's URL may lead to. A camera usually stands in the local network, where photos' URLs may not go."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ..errors import AddressRefused
from ..fetch import Address, is_public, reached
from .source import Source, split_url

#: What ``lan`` stands for.
LAN = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
#: Addresses inside these at which clouds hand out credentials: only a list that names them allows them.
_METADATA = tuple(map(ipaddress.ip_network, ("fd00:ec2::/32", "fd20:ce::/32")))


def refusal(host: str) -> str:
    return f"{host} leads to an address that is not allowed for cameras; RECOGNIZER_CAMERA_ALLOW lists those that are"


class Reach:
    """An allow-list of addresses. Empty, it allows none; `Reach.everywhere()` is for what the operator wrote.

    Parameters
    ----------
    places : iterable of str
        Addresses or networks in CIDR form, ``lan`` (private networks) or ``public`` (the Internet at large).
    """

    def __init__(self, places: Iterable[str] = ("lan",)):
        places = tuple(places)
        self._all = False
        self._lan, self._public = "lan" in places, "public" in places
        self._networks = tuple(
            ipaddress.ip_network(place, strict=False) for place in places if place not in ("lan", "public")
        )

    @classmethod
    def everywhere(cls) -> Reach:
        made = cls(())
        made._all = True
        return made

    def permits(self, address: Address) -> bool:
        """Whether a connection to `address` is allowed."""
        if self._all:
            return True
        at = reached(address)  # an IPv4 address may be wrapped in an IPv6 one
        if any(each in network for network in self._networks for each in (address, at)):
            return True
        if self._lan and any(at in network for network in LAN):
            return not any(at in network for network in _METADATA)
        return self._public and is_public(at)

    def check(self, host: str, addresses: Iterable[Address]) -> None:
        """Raise `AddressRefused` unless every address is permitted."""
        if not all(map(self.permits, addresses)):
            raise AddressRefused(refusal(host), host=host)

    def check_source(self, source: Source) -> None:
        """Refuse at once what needs no name server to be refused; names are checked whenever they are connected to."""
        if source.kind not in ("rtsp", "http"):
            return
        url = split_url(source.address)
        if url.literal is not None:
            self.check(url.host, [url.literal])
        elif url.host == "localhost" or url.host.endswith(".localhost"):
            self.check(url.host, [ipaddress.ip_address("127.0.0.1")])
