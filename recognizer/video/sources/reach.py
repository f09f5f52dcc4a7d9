"""Which addresses a camera's URL may lead to. A camera is usually in the local network, which photos' URLs must not reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from recognizer.core.errors import AddressRefused
from recognizer.core.origins import Address
from recognizer.fetching.addresses import effective_address, is_public
from recognizer.video.sources.source import CameraSource, split_url

#: The networks of ``lan``.
LAN = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
#: Addresses inside these at which clouds provide credentials: allowed only if the list names them.
_METADATA = tuple(map(ipaddress.ip_network, ("fd00:ec2::/32", "fd20:ce::/32")))


def refusal(host: str) -> str:
    return f"{host} leads to an address that is not allowed for cameras; RECOGNIZER_CAMERA_ALLOW lists those that are"


class Reach:
    """An allow-list of addresses. Empty, it allows none; `Reach.everywhere()` is for sources in the operator's settings.

    Parameters
    ----------
    places : iterable of str
        Addresses or networks in CIDR form, ``lan`` (private networks) or ``public`` (the Internet at large).
    """

    def __init__(self, places: Iterable[str] = ("lan",)):
        places = tuple(places)
        self._all = False
        self._lan, self._public = "lan" in places, "public" in places
        self._networks = tuple(ipaddress.ip_network(place, strict=False) for place in places if place not in ("lan", "public"))

    @classmethod
    def everywhere(cls) -> Reach:
        made = cls(())
        made._all = True
        return made

    def permits(self, address: Address) -> bool:
        """Whether a connection to `address` is allowed."""
        if self._all:
            return True
        at = effective_address(address)  # an IPv4 address may be wrapped in an IPv6 one
        if any(each in network for network in self._networks for each in (address, at)):
            return True
        if self._lan and any(at in network for network in LAN):
            return not any(at in network for network in _METADATA)
        return self._public and is_public(at)

    def check(self, host: str, addresses: Iterable[Address]) -> None:
        """Raise `AddressRefused` unless every address is permitted."""
        if not all(map(self.permits, addresses)):
            raise AddressRefused(refusal(host), host=host)

    def check_source(self, source: CameraSource) -> None:
        """Refuse at once what can be refused without a name server; names are checked at every connection."""
        if source.kind not in ("rtsp", "http"):
            return
        url = split_url(source.address)
        if url.literal is not None:
            self.check(url.host, [url.literal])
        elif url.host == "localhost" or url.host.endswith(".localhost"):
            self.check(url.host, [ipaddress.ip_address("127.0.0.1")])
