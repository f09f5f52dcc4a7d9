"""Which certificate authorities are trusted in connections to others."""

from __future__ import annotations

import ssl
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import Session


def trusting_context(*cafiles: str | PathLike[str]) -> ssl.SSLContext:
    """A client's TLS context that trusts the system's authorities, certifi's, and those of some PEM files.

    The system's are often the only ones that know the authority of an organisation; certifi's are there on systems without any.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    import certifi

    context = ssl.create_default_context()
    for file in (certifi.where(), *cafiles):
        context.load_verify_locations(file)
    return context


def accepting_context() -> ssl.SSLContext:
    """A client's TLS context that accepts every certificate: of encrypted connections to a server that cannot show a good one.

    Whoever can redirect such a connection can read it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def trusting_session() -> Session:
    """A session of `requests` whose connections trust the system's authorities as well as certifi's, as pip does since 24.2."""
    import requests
    from requests.adapters import HTTPAdapter

    class TrustingAdapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **{**options, "ssl_context": trusting_context()})

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            return super().proxy_manager_for(proxy, **{**options, "ssl_context": trusting_context()})

    session = requests.Session()
    session.mount("https://", TrustingAdapter())
    return session
