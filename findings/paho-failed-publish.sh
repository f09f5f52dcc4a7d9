#!/usr/bin/env bash
# paho-mqtt 2.2.0 (read 2026-11-30): publish() with QoS 1 and no connection returns MQTT_ERR_NO_CONN, and is_published() and
# wait_for_publish() raise "Message publish failed". The message has not failed: it is kept, and sent at the next connection, even
# hours later. A program that tries again publishes it twice, and one that gave up opens the door when the broker is back. After the
# broker has confirmed the message, is_published() still raises the same error. With QoS 0 it is as the error says.
# A message that must not be late needs QoS 0, a new client for each connection, or a time in it that the receiver checks.
#
#   bash findings/paho-failed-publish.sh
#
# Installs the pinned package into a temporary folder, publishes while there is no broker, and then starts one that writes down what
# it gets. Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client paho-mqtt==2.2.0
cd "$work"
cat > try.py <<'PY'
import socket
import sys
import threading

import paho.mqtt.client as mqtt


def read(connection: socket.socket) -> tuple[int, bytes]:
    """One packet of a client: its first byte and its body (all bodies here are shorter than 128 bytes)."""
    head = connection.recv(2, socket.MSG_WAITALL)
    return head[0], connection.recv(head[1], socket.MSG_WAITALL)


def serve(server: socket.socket) -> None:
    """A broker that takes one connection, until the first message: it confirms that."""
    connection, _ = server.accept()
    read(connection)
    connection.sendall(b"\x20\x02\x00\x00")
    kind, body = read(connection)
    end = 2 + int.from_bytes(body[:2], "big")
    got.append((kind >> 1 & 3, body[2:end].decode(), body[end + 2 :].decode()))
    connection.sendall(b"\x40\x02" + body[end : end + 2])


def said(ask) -> str:
    try:
        return str(ask())
    except RuntimeError as error:
        return f"RuntimeError: {error}"


got: list[tuple[int, str, str]] = []
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
confirmed = threading.Event()
client.on_publish = lambda *_: confirmed.set()
dropped, sent = (client.publish("door/front", f"unlock, QoS {qos}", qos=qos) for qos in (0, 1))
codes = [dropped.rc, sent.rc]
before = said(sent.is_published)
print("no broker: publish() returns", *map(mqtt.error_string, codes), "and is_published() says", before)
with socket.create_server(("127.0.0.1", 0)) as server:
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    client.connect("127.0.0.1", server.getsockname()[1])
    client.loop_start()
    confirmed.wait(10)
after = said(sent.is_published)
print("later the broker gets", got, "and is_published() says", after)
failed = codes == [mqtt.MQTT_ERR_NO_CONN] * 2 and before == after and "publish failed" in before
sys.exit(not failed or got != [(1, "door/front", "unlock, QoS 1")])
PY
if client/bin/python try.py; then as_described "a message that failed is sent later"; else changed; fi
