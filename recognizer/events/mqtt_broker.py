"""Where the MQTT broker is: parsed from its URL, shown without credentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from recognizer.core.errors import SettingsError

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class Broker:
    """Where the broker is. The representation contains no credentials."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    cafile: str | None = None

    @property
    def shown(self) -> str:
        """Its URL without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def new_client(self, client_id: str, *, reconnect: bool = True) -> Any:
        """A client of paho's that has the credentials, and trusts the right authorities; it is not connected."""
        import paho.mqtt.client as paho

        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=True,
            reconnect_on_failure=reconnect,
        )
        if self.user:
            client.username_pw_set(self.user, self.password)
        if self.tls:
            import ssl

            import certifi

            context = ssl.create_default_context()
            for file in filter(None, (certifi.where(), self.cafile)):
                context.load_verify_locations(file)
            client.tls_set_context(context)
        return client


def parse_broker(url: str, password: str | None = None, cafile: str | None = None) -> Broker:
    """Parse a broker's URL: ``mqtt://user:password@host:1883`` or ``mqtts://...``, user and password percent-encoded.

    Raises
    ------
    SettingsError
        The message never contains the URL, which may contain a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError("mqtt_url: expected mqtt://HOST or mqtts://HOST with a port from 1 to 65535") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment or port == 0:
        raise SettingsError("mqtt_url: expected mqtt://[USER:PASSWORD@]HOST[:PORT], or mqtts:// for TLS")
    own = None if parts.password is None else unquote(parts.password)
    user = None if not parts.username else unquote(parts.username)
    return Broker(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "mqtts", user, password or own, cafile)
