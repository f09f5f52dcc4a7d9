#!/usr/bin/env bash
# deepstack-sdk 0.2.1 (the newest on PyPI, read 2026-11-30): registerFace() and deleteFace() return True for every reply with the
# status 200. CodeProject.AI Server, to which DeepStack's users were sent, answers 200 to everything, and says in the body that
# nothing was done: {"success": false}. A program that enrols people so believes that they are enrolled, and never sees why not.
# The list of registered faces has to be read afterwards.
#
#   bash findings/deepstack-sdk-failed-registration.sh
#
# Installs the pinned package into a temporary folder, and lets it register a photo at a server that answers as CodeProject.AI does.
# Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client deepstack-sdk==0.2.1
cd "$work"
cat > try.py <<'PY'
import sys

from deepstack_sdk import Face, ServerConfig
from server import asked, serve

port = serve(b'{"success": false, "code": 500, "error": "No face was detected"}')
client = Face(ServerConfig(f"http://127.0.0.1:{port}"))
said = [client.registerFace(images=[b"\xff\xd8\xff a photo"], userid="Ada"), client.deleteFace("Ada")]
print(*asked, sep="\n")
print('the server says {"success": false}; registerFace and deleteFace return', said)
sys.exit(said != [True, True])
PY
if client/bin/python try.py; then as_described "a registration that failed counts as done"; else changed; fi
