"""HTTPS for `recognizer.http.connections`, whose loop performs the handshakes without blocking."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import time
from pathlib import Path

from recognizer.core.errors import SettingsError

#: How often the files are checked: new connections use a renewed certificate.
_LOOK_SECONDS = 2.0

log = logging.getLogger("recognizer.server")


class Tls:
    """A certificate with its key. Owns the context that connections are made with.

    Parameters
    ----------
    certificate : Path
        PEM: the certificate, then its chain.
    key : Path, optional
        PEM: the private key, where the first file does not hold it.
    password : str, optional
        Of the private key.
    client_ca : Path, optional
        PEM: authorities, one of which has to have signed the certificate that a client shows.

    Raises
    ------
    SettingsError
    """

    environ = {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def __init__(self, certificate: Path, key: Path | None = None, password: str | None = None, client_ca: Path | None = None):
        self._files = (certificate, key, client_ca)
        self._password = password
        self._context = self._load()
        self._seen, self._looked = self._stamps(), time.monotonic()

    def _load(self) -> ssl.SSLContext:
        certificate, key, client_ca = self._files
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(certificate, key, password=self._password or "")
            if client_ca is not None:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except ssl.SSLError as error:
            reason = (error.reason or "no PEM, or a wrong password").lower().replace("_", " ")
            raise SettingsError(f"the TLS certificate, key or client authority cannot be used: {reason}") from None
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise SettingsError(f"a file of the TLS certificate, key or client authority cannot be read: {reason}") from None
        return context

    def _stamps(self) -> list:
        found = []
        for file in self._files:
            with contextlib.suppress(OSError):
                status = os.stat(file) if file is not None else None
                found.append(status and (status.st_mtime_ns, status.st_size, status.st_ino))
        return found

    def refresh(self) -> None:
        """Use files that were replaced; if they cannot be used, keep the earlier ones."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked, stamps = time.monotonic(), self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._context = self._load()
            log.warning("the TLS certificate was replaced; new connections get the new one")
        except SettingsError as error:
            log.error("%s; the certificate from before stays in use", error.message)

    # -- what the loop calls ---------------------------------------------------------------------------------------

    def wrap(self, connection: socket.socket) -> tuple[ssl.SSLSocket, dict]:
        """Begin TLS on an accepted connection; nothing is read or written yet."""
        self.refresh()
        wrapped = self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        return wrapped, dict(self.environ)

    def finish(self, connection: ssl.SSLSocket) -> str | None:
        """Go on with the handshake, which `wrap` did not do; None once it is done, or why it failed.

        Raises
        ------
        ssl.SSLWantReadError, ssl.SSLWantWriteError
            The client has to send, or to take, something first.
        """
        try:
            connection.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            return (error.reason or "failed").lower().replace("_", " ")
        except (OSError, ValueError) as error:
            return str(error) or "failed"
        return None
