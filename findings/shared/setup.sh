# Sourced by the scripts: a temporary folder, $work, that is gone at the end, and environments of Python in it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# environment NAME PACKAGE...: an environment with exactly these packages and what they need, from wheels only; $work/NAME/bin/python
environment() {
    python3 -m venv "$work/$1"
    "$work/$1/bin/python" -m pip install -q --disable-pip-version-check --only-binary :all: "${@:2}"
}

# How a script ends.
as_described() { echo "as described: $1"; }
changed() {
    echo "this has changed"
    exit 1
}

# A server on the loopback for clients to ask: serve(reply, kind, first) returns its port, and `asked` has the method and path of each
# request. The first request is answered with the status `first`.
cat > "$work/server.py" <<'PY'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

asked = []


def serve(reply: bytes, kind: str = "application/json", first: int = 200) -> int:
    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.command, self.path))
            self.send_response(first if len(asked) == 1 else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port
PY
