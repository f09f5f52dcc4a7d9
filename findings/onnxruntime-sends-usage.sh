#!/usr/bin/env bash
# onnxruntime 1.32.0 (PyPI, Linux x86_64, read 2026-11-30): the first session of a program writes an id of the machine and a database
# of reports below ~/.cache/Microsoft, and some seconds later connects to mobile.events.data.microsoft.com to send them: ids, the
# system, the processor, the kind of container, the program. 1.28.0 does nothing of that. insightface 2.1 and deepface 0.0.103 need
# it, so that programs that were said to send nothing report once their packages are new.
# ORT_DISABLE_TELEMETRY=1 in the environment before the first session avoids both. With CI=1 it is off by itself, so that tests there
# do not show it.
#
#   bash findings/onnxruntime-sends-usage.sh
#
# Installs the pinned packages into a temporary folder, and runs a network of one addition with a home of its own. The environment
# names a proxy that writes down where a connection should go, and ends it: nothing is sent. Ends with 0 while this is so, with 1 when
# it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment old onnxruntime==1.28.0
environment new onnxruntime==1.32.0 onnx==1.23.2
cd "$work"
cat > make.py <<'PY'
from onnx import TensorProto, helper, save

values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"]
graph = helper.make_graph([helper.make_node("Add", ["a", "a"], ["b"])], "doubled", values[:1], values[1:])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "network.onnx")
PY
new/bin/python make.py
cat > try.py <<'PY'
import os
import socket
import sys
import threading
import time
from pathlib import Path


def listen() -> None:
    while True:
        connection = server.accept()[0]
        asked.add(connection.recv(4096).decode().split(" HTTP")[0])
        connection.close()


asked: set[str] = set()
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=listen, daemon=True).start()
os.environ["https_proxy"] = os.environ["http_proxy"] = f"http://127.0.0.1:{server.getsockname()[1]}"

import onnxruntime

session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
until = time.monotonic() + 30
while not asked and time.monotonic() < until:
    time.sleep(0.1)
home = Path(os.environ["HOME"])
files = sorted(file.relative_to(home).as_posix() for file in home.rglob("*") if file.is_file())
print(f"{onnxruntime.__version__} {sys.argv[1]}: files {files}, connections {sorted(asked)}")
sent = {"CONNECT mobile.events.data.microsoft.com:443"}
kept = {f".cache/Microsoft/DeveloperTools/.onnxruntime/{name}" for name in ("deviceid", "onnxruntime.db")}
sys.exit(0 if asked == sent and kept <= set(files) else 3 if not asked and not files else 1)
PY
run() {
    mkdir -p "home-$1-$2"
    local code=0
    env -i PATH="$PATH" HOME="$work/home-$1-$2" ${3:+"$3"} "$1/bin/python" try.py "$2" || code=$?
    found="${found:-}$code "
}
run old plain
run new plain
run new disabled ORT_DISABLE_TELEMETRY=1
run new tested CI=1
if [ "$found" = "3 0 3 3 " ]; then as_described "the first session reports to the makers"; else changed; fi
