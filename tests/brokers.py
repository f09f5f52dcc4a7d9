"""Real brokers for the tests, as processes on the loopback: Mosquitto, RabbitMQ and NATS."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from recognizer.events.broker_delivery import BrokerDelivery
from recognizer.events.event_log import EventLog
from recognizer.events.mqtt_broker import end_connection

if TYPE_CHECKING:  # Python 3.10 has no typing.Self
    from typing_extensions import Self

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
PASSWD = shutil.which("mosquitto_passwd") or shutil.which("mosquitto_passwd", path="/usr/sbin")
MISSING = "needs the broker: apt-get install mosquitto"
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
MISSING_RABBITMQ = "needs the broker: apt-get install rabbitmq-server"
NATS = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
MISSING_NATS = "needs the server: apt-get install nats-server"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def put(log: EventLog, count: int = 1, **fields) -> None:
    """Add events to a log."""
    for _ in range(count):
        event = {"id": 0, "kind": "appeared", "camera": "front.door", "time": "2026-11-30T08:00:00.000Z", "subject": "Ada"}
        log.append([{**event, "thumbnail": None, **fields}])


def stopped(sink: BrokerDelivery) -> None:
    """Stop a delivery, and see that its thread has ended."""
    sink.stop()
    assert sink._thread is not None and not sink._thread.is_alive()


class _Server:
    """A process that listens on a port of the loopback; `start` waits until it does."""

    folder: Path
    port: int
    command: list
    process: subprocess.Popen | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_) -> None:
        self.kill()

    def start(self) -> Self:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Broker(_Server):
    """Mosquitto with one user; it keeps nothing on the disk but that."""

    def __init__(
        self,
        folder: Path,
        user: str = "cam",
        password: str = "s3cr%t/@:ö",
        certificate: Path | None = None,
        options: str = "",
    ):
        self.folder, self.port = folder, free_port()
        self.user, self.password = user, password
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([PASSWD, "-b", "-c", folder / "passwords", user, password], check=True, capture_output=True, timeout=30)
        (folder / "passwords").chmod(0o644)
        folder.chmod(0o755)
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {folder / 'passwords'}\n"
            f"persistence false\nuser root\n{options}"
            + (f"certfile {certificate}\nkeyfile {certificate}\n" if certificate else "")
        )
        self.command = [MOSQUITTO, "-c", folder / "mosquitto.conf"]


class FloodingBroker:
    """Accepts each connection, and sends the same messages as fast as they are taken; only to the first `floods` clients."""

    #: A thousand messages of MQTT 3.1.1: topic `a`, one byte, quality of service 0.
    MESSAGES = b"\x30\x04\x00\x01ab" * 1000

    def __init__(self, floods: int):
        self.floods, self.came = floods, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name="flooding broker", daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.came += 1
                self._threads.append(threading.Thread(target=self._serve, args=(client, self.came <= self.floods), daemon=True))
                self._threads[-1].start()

    def _serve(self, client: socket.socket, flood: bool) -> None:
        with suppress(OSError), client:
            client.recv(65536)
            client.sendall(b"\x20\x02\x00\x00")  # the connection is accepted
            while flood:
                client.sendall(self.MESSAGES)
            while client.recv(65536):
                pass

    def close(self) -> None:
        self._listener.close()


class Listener:
    """A subscriber that keeps what comes, as (topic, payload, retained)."""

    def __init__(self, broker: Broker, *topics: str):
        import paho.mqtt.client as paho

        self.messages: list[tuple[str, bytes, bool]] = []
        self.ready = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.username_pw_set(broker.user, broker.password)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics or ("#",)])
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda client, userdata, message: self.messages.append(
            (message.topic, message.payload, message.retain)
        )
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self.ready.wait(20)

    def of(self, topic: str) -> list[bytes]:
        """What was published to a topic, oldest first."""
        return [payload for name, payload, _ in list(self.messages) if name == topic]

    def held(self) -> dict[str, bytes]:
        """The newest payload of each topic; topics whose newest is empty are left out."""
        newest = {name: payload for name, payload, _ in list(self.messages)}
        return {name: payload for name, payload in newest.items() if payload}

    def close(self) -> None:
        end_connection(self.client)


class RabbitMq:
    """A RabbitMQ node of its own, with a folder and ports of its own on the loopback; also its port for names is its own."""

    def __init__(self, folder: Path, certificate: Path | None = None):
        self.folder, self.port, self.tls_port = folder, free_port(), free_port()
        self.user, self.password = "cam", "s3cr%t/@:"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.port}\ndefault_user = {self.user}\ndefault_pass = {self.password}\n"
            "log.file.level = error\nvm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 1MB\n"
            + (
                f"listeners.ssl.local = 127.0.0.1:{self.tls_port}\nssl_options.certfile = {certificate}\n"
                f"ssl_options.keyfile = {certificate}\nssl_options.verify = verify_none\n"
                if certificate
                else ""
            )
        )
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"recognizer{self.port}@localhost",
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "true",  # it can be ended at once
        }
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> RabbitMq:
        return self.start()

    def __exit__(self, *_) -> None:
        self.kill()
        subprocess.run(["epmd", "-kill"], env=self._environment, capture_output=True, timeout=30, check=False)

    def start(self) -> RabbitMq:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [RABBITMQ],
                env=self._environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        end = time.monotonic() + 240
        while True:
            try:
                self.client().close()
                return self
            except Exception:
                assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.2)

    def kill(self) -> None:
        """End it as a crash does, with the helpers that it started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def client(self):
        """A connection of a consumer."""
        import pika

        credentials = pika.PlainCredentials(self.user, self.password)
        return pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", self.port, credentials=credentials, socket_timeout=2, heartbeat=0)
        )

    def messages(self, queue: str) -> list:
        """What is in a queue, taken out: the method, the properties and the body of each."""
        connection = self.client()
        channel, found = connection.channel(), []
        while (taken := channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append(taken)
        connection.close()
        return found


class NatsServer(_Server):
    """A NATS server with one user, which keeps its streams in a folder of its own."""

    def __init__(self, folder: Path, certificate: Path | None = None):
        self.folder, self.port = folder, free_port()
        self.user, self.password = "cam", "s3cr%t/@:"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nats.conf").write_text(
            f'listen: "127.0.0.1:{self.port}"\nauthorization {{ user: {self.user}, password: "{self.password}" }}\n'
            f'jetstream {{ store_dir: "{folder}" }}\n'
            + (f'tls {{ cert_file: "{certificate}", key_file: "{certificate}" }}\n' if certificate else "")
        )
        self.command = [NATS, "-c", folder / "nats.conf"]

    def ask(self, question):
        """What `question`, a coroutine function, finds out with JetStream."""
        import asyncio

        import nats

        async def asked():
            client = await nats.connect(f"nats://127.0.0.1:{self.port}", user=self.user, password=self.password)
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(asked())

    def messages(self, stream: str) -> list:
        """What a stream holds, oldest first: subject, headers and data of each."""

        async def read(jetstream):
            state = (await jetstream.stream_info(stream)).state
            return [await jetstream.get_msg(stream, seq=number) for number in range(state.first_seq, state.last_seq + 1)]

        return self.ask(read)
