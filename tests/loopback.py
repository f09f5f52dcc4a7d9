"""HTTP servers on the loopback."""

from __future__ import annotations

import http.server
import ssl
import threading
from pathlib import Path


class LoopbackServer:
    """Serves on a thread of its own, with TLS if there is a certificate, until it is closed."""

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler], port: int = 0, certificate: Path | None = None):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.port = self.server.server_port
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.root = f"http{'' if certificate is None else 's'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
