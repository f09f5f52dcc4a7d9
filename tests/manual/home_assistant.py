"""Home Assistant itself shows cameras, people and events: run by hand, about three minutes with an environment that is there.

::

    python -m tests.manual.home_assistant --environment /tmp/home-assistant

Installs the pinned version into an environment of its own (800 MB, once), and starts it on the loopback with a real Mosquitto
and this server, whose camera shows photos. Adds the integrations MQTT and MJPEG IP Camera as a user does, and compares what
Home Assistant's REST API shows with the photos. The card and the blueprint of docs/howto/doorbell.md and the automations of
docs/video.md are those of the pages. Ends with 0 if all of it is so and Home Assistant logged nothing about it.

Needs Mosquitto, and the Python that the version wants: 3.13 for this one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import requests

from .. import photos as real_photos
from ..brokers import MISSING, MOSQUITTO, Broker, Listener, free_port
from ..e2e import pictures
from ..e2e.serving import ROOT, Server
from ..e2e.stages import Stage

#: The newest version that runs on Python 3.13.0.
VERSION = "2025.4.4"
PYTHON = "python3.13"
#: What the integrations in use need, in the versions that Home Assistant's constraints name.
_PACKAGES = ("home-assistant-frontend", "paho-mqtt", "PyTurboJPEG", "numpy")
#: What Home Assistant logs of itself in an environment like this one, and when the broker is killed.
_OWN = ("Skipping pip installation", "zlib_ng and isal", "Error loading libturbojpeg", "The connection was lost")
_LOGGED = re.compile(r"^\S+ \S+ (?:WARNING|ERROR|CRITICAL) .*", re.MULTILINE)
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CAMERA, _PERSON = "front_door", "Barack Obama"
_OBAMA = "binary_sensor.recognizer_barack_obama"

_CONFIGURATION = """\
homeassistant: {{name: Home, latitude: 0, longitude: 0, elevation: 0, unit_system: metric, time_zone: UTC}}
http: {{server_host: 127.0.0.1, server_port: {port}}}
logger: {{default: warning}}
api:
config:
onboarding:
command_line:
  - notify: {{name: notify, command: "cat >> {told}; echo >> {told}"}}
lock:
  - platform: template
    name: Front door
    value_template: "{{{{ true }}}}"
    lock: []
    unlock: [{{event: front_door_unlocked}}]
automation: !include automations.yaml
"""
_AUTOMATIONS = """\
- alias: blueprint
  use_blueprint:
    path: recognizer/doorbell-blueprint.yaml
    input:
      topic: recognizer/cameras/{camera}/event
      pause: 0
      actions:
        - event: doorbell
          event_data: {{who: "{{{{ who }}}}", camera: "{{{{ camera }}}}"}}
- alias: porch
  use_blueprint:
    path: recognizer/doorbell-blueprint.yaml
    input:
      topic: recognizer/cameras/{camera}/event
      zones: [porch]
      pause: 0
      actions:
        - event: porch
          event_data: {{who: "{{{{ who }}}}", zone: "{{{{ zone }}}}"}}
- alias: unlock
  {unlock}
- alias: stranger
  {stranger}
"""


class HomeAssistant:
    """Home Assistant with a configuration below `folder`, run by an environment's Python.

    Parameters
    ----------
    python : Path
    folder : Path
    """

    def __init__(self, python: Path, folder: Path):
        self.python, self.folder = python, folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = folder / "output.log"
        self.fired: list[tuple[str, dict]] = []  # events of automations: name and data
        self.process: subprocess.Popen | None = None
        self._token = ""

    def start(self) -> None:
        """Start, and return when it has started all integrations."""
        with self.log_file.open("ab") as log:
            command = [self.python, "-m", "homeassistant", "-c", self.folder, "--skip-pip", "--log-no-color"]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for("Home Assistant answers", lambda: self._answers())
        if not self._token:
            self._sign_up()
        wait_for("Home Assistant has started", lambda: self.get("/api/config")["state"] == "RUNNING")
        threading.Thread(target=self._listen, daemon=True).start()

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log_file.read_text()
        try:
            return requests.get(f"{self.url}/api/onboarding", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def _sign_up(self) -> None:
        """Make the owner, as the first page does, and keep a token."""
        owner = {"client_id": self.url + "/", "name": "Owner", "username": "owner", "password": "secret", "language": "en"}
        made = requests.post(f"{self.url}/api/onboarding/users", json=owner, timeout=30).json()
        asked = {"grant_type": "authorization_code", "code": made["auth_code"], "client_id": self.url + "/"}
        self._token = requests.post(f"{self.url}/auth/token", data=asked, timeout=30).json()["refresh_token"]

    @property
    def _headers(self) -> dict[str, str]:
        asked = {"grant_type": "refresh_token", "refresh_token": self._token, "client_id": self.url + "/"}
        fresh = requests.post(f"{self.url}/auth/token", data=asked, timeout=30).json()
        return {"Authorization": f"Bearer {fresh['access_token']}"}

    def raw(self, path: str, **how) -> requests.Response:
        return requests.get(self.url + path, headers=self._headers, timeout=30, **how)

    def get(self, path: str):
        reply = self.raw(path)
        assert reply.status_code == 200, f"{path}: {reply.status_code} {reply.text}"
        return reply.json()

    def post(self, path: str, body: dict) -> requests.Response:
        return requests.post(self.url + path, json=body, headers=self._headers, timeout=60)

    def states(self) -> dict[str, dict]:
        return {each["entity_id"]: each for each in self.get("/api/states")}

    def state(self, entity: str) -> str | None:
        reply = self.raw(f"/api/states/{entity}")
        return reply.json()["state"] if reply.status_code == 200 else None

    def attributes(self, entity: str) -> dict:
        return self.get(f"/api/states/{entity}")["attributes"]

    def template(self, text: str) -> str:
        return self.post("/api/template", {"template": text}).text

    def add_integration(self, handler: str, **fields) -> None:
        """Fill in the one form of an integration."""
        form = self.post("/api/config/config_entries/flow", {"handler": handler}).json()
        made = self.post(f"/api/config/config_entries/flow/{form['flow_id']}", fields).json()
        assert made["type"] == "create_entry", made

    def _listen(self) -> None:
        """Keep what automations fire."""
        names = "doorbell,porch,front_door_unlocked"
        with contextlib.suppress(requests.RequestException):
            stream = requests.get(f"{self.url}/api/stream?restrict={names}", headers=self._headers, stream=True, timeout=600)
            for line in stream.iter_lines():
                if line.startswith(b"data: {"):
                    event = json.loads(line[6:])
                    self.fired.append((event["event_type"], event["data"]))

    def logged(self) -> list[str]:
        """Its warnings and errors, without those about the environment."""
        return [line for line in _LOGGED.findall(self.log_file.read_text()) if not any(own in line for own in _OWN)]


def wait_for(what: str, condition: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            print(f"  {what}", flush=True)
            return
        assert time.monotonic() < until, f"not so after {seconds:.0f} s: {what}"
        time.sleep(0.2)


def environment(folder: Path, python: str, version: str) -> Path:
    """The Python of an environment with Home Assistant, which is made if it is not there."""
    made = folder / "bin" / "python"
    if not made.exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
    pip = [made, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, f"homeassistant=={version}"], check=True)
    (constraints,) = folder.glob("lib/python*/site-packages/homeassistant/package_constraints.txt")
    subprocess.run([*pip, "-c", constraints, *_PACKAGES], check=True)
    return made


def key_of(server: Server, role: str) -> str:
    """A new key; from the first one on, the server asks for one."""
    made = server.cli("--json", "keys", "add", role, "--role", role)
    assert made.exit_code == 0, made.stderr
    return json.loads(made.stdout)["key"]


def configure(folder: Path, port: int, camera: str) -> None:
    """Write the configuration, with what the pages of the documentation show."""
    blueprints = folder / "blueprints" / "automation" / "recognizer"
    blueprints.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "howto" / "doorbell-blueprint.yaml", blueprints)
    unlock, stranger = (block for block in blocks("video.md") if block.startswith("# Home Assistant"))
    unlock = unlock.replace("recognizer/cameras/door/", f"recognizer/cameras/{camera}/").replace("'Ada'", f"'{_PERSON}'")
    unlock, stranger = (text.replace("\n", "\n  ").rstrip() for text in (unlock, stranger))
    (folder / "configuration.yaml").write_text(_CONFIGURATION.format(port=port, told=folder / "told"))
    automations = _AUTOMATIONS.format(camera=camera, unlock=unlock, stranger=stranger)
    (folder / "automations.yaml").write_text("[]\n")
    (folder / "automations.later").write_text(automations)  # their triggers need the integration


def blocks(page: str) -> list[str]:
    """The blocks of YAML on a page of the documentation."""
    return _BLOCK.findall((ROOT / "docs" / page).read_text("utf-8"))


@contextlib.contextmanager
def installation(folder: Path) -> Iterator[tuple[Server, Stage, Broker, dict]]:
    """A broker, and this server with one enrolled person and one camera."""
    faces = real_photos.fetch_photos("obama.jpg", "obama2.jpg", "astronaut.png")
    shown = {name: pictures.smaller(path.read_bytes(), 800) for name, path in faces.items()}
    with Broker(folder / "broker", user="home", password="s3cret") as broker, Stage() as stage:
        url = f"mqtt://{broker.user}:{quote(broker.password, safe='')}@127.0.0.1:{broker.port}"
        server = Server(
            folder / "recognizer",
            camera="none",
            camera_allow="127.0.0.1",
            event_left_seconds=2,
            event_unknown_seconds=1.5,
            mqtt_url=url,
            mqtt_double_take="on",
        )
        server.put(f"{_PERSON}/one.jpg", shown["obama.jpg"])
        with server:
            server.wait_for(lambda: _PERSON in server.people())
            made = server.post("/cameras", data={"source": stage.url(), "name": "Front door", "always": "1"}).json()
            yield server, stage, broker, {**shown, "camera": made["id"]}


def try_everything(home: HomeAssistant, server: Server, stage: Stage, broker: Broker, shown: dict) -> None:
    entities = {
        f"binary_sensor.{_CAMERA}_person": "off",
        f"binary_sensor.{_CAMERA}_known_person": "off",
        f"binary_sensor.{_CAMERA}_camera": "on",
        f"sensor.{_CAMERA}_people": "0",
        f"sensor.{_CAMERA}_last_person": "unknown",
        f"event.{_CAMERA}_event": "unknown",
        f"image.{_CAMERA}_last_person": "unknown",
        _OBAMA: "off",
        "sensor.double_take_barack_obama": "unavailable",  # until there is a sighting: it expires
    }

    def are(wanted: dict[str, str]) -> Callable[[], bool]:
        differing: dict[str, str | None] = {}

        def so() -> bool:
            states, before = home.states(), dict(differing)
            differing.clear()
            for entity, state in wanted.items():
                if (found := states.get(entity, {}).get("state")) != state:
                    differing[entity] = found
            if differing and differing != before:
                print("    not yet:", differing, flush=True)
            return not differing

        return so

    print("discovery")
    listener = Listener(broker, "recognizer/#")
    home.start()
    sign_in = {"username": broker.user, "password": broker.password}
    home.add_integration("mqtt", broker="127.0.0.1", port=broker.port, **sign_in)
    shutil.copy(home.folder / "automations.later", home.folder / "automations.yaml")
    home.post("/api/services/automation/reload", {})
    wait_for("the camera and the person are there, and nobody is anywhere", are(entities))
    device = home.template(f"{{{{ device_attr('event.{_CAMERA}_event', 'name') }}}}")
    assert device == "Front door", device
    assert home.template(f"{{{{ device_attr('{_OBAMA}', 'name') }}}}") == "Recognizer"
    on_card = re.findall(r"\b(?:image|sensor|binary_sensor|event|camera)\.\w+", "".join(blocks("howto/doorbell.md")))
    missing = set(on_card) - home.states().keys()
    assert on_card and not missing, f"the card shows what is not there: {missing}"

    print("somebody enrolled comes and goes")
    porch = {"zones": [{"name": "Porch", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]}]}
    assert server.request("PUT", f"/cameras/{shown['camera']}/settings", json=porch).status_code == 200
    stage.hold(shown["obama2.jpg"])
    wait_for("the states say so", are({entity: "on" for entity in entities if entity.startswith("binary_sensor")}))
    assert home.state(f"sensor.{_CAMERA}_people") == "1"
    assert home.attributes(_OBAMA)["cameras"] == [shown["camera"]]
    wait_for("the event", lambda: home.attributes(f"event.{_CAMERA}_event").get("event_type") == "appeared")
    event = home.attributes(f"event.{_CAMERA}_event")
    assert event["subject"] == _PERSON and event["late"] is False, event
    wait_for("the picture", lambda: home.state(f"image.{_CAMERA}_last_person") != "unknown")
    reply = home.raw(f"/api/image_proxy/image.{_CAMERA}_last_person")
    assert reply.headers["Content-Type"] == "image/jpeg" and reply.content == server.get(event["thumbnail"]).content
    assert home.attributes(f"sensor.{_CAMERA}_last_person")["device_class"] == "timestamp"
    assert home.state(f"sensor.{_CAMERA}_last_person")[:4].isdigit()
    wait_for("the blueprint", lambda: ("doorbell", {"who": _PERSON, "camera": shown["camera"]}) in home.fired)
    wait_for("the blueprint with a zone", lambda: ("porch", {"who": _PERSON, "zone": "Porch"}) in home.fired)
    rings = [name for name, _ in home.fired].count("doorbell")
    for who, zone in (("Ada", "Path"), ("Eve", "Porch")):  # who were there before
        entered = {"kind": "entered", "camera": shown["camera"], "subject": who, "zones": [zone], "late": False}
        listener.client.publish(f"recognizer/cameras/{shown['camera']}/event", json.dumps(entered), qos=1)
    wait_for("the blueprint when somebody enters a zone", lambda: ("porch", {"who": "Eve", "zone": "Porch"}) in home.fired)
    assert ("porch", {"who": "Ada", "zone": "Path"}) not in home.fired
    assert [name for name, _ in home.fired].count("doorbell") == rings
    wait_for("Double Take's sensor", are({"sensor.double_take_barack_obama": shown["camera"]}))
    wait_for("the lock of docs/video.md", lambda: ("front_door_unlocked", {}) in home.fired)
    stage.hold(None)
    states = {entity: state for entity, state in entities.items() if state not in ("unknown", "unavailable")}
    wait_for("the states when the person has left", are(states))

    print("somebody unknown comes and goes")
    stage.hold(shown["astronaut.png"])
    wait_for("the blueprint", lambda: ("doorbell", {"who": "Somebody unknown", "camera": shown["camera"]}) in home.fired)
    wait_for("the message of docs/video.md", (home.folder / "told").exists)
    assert home.state(f"binary_sensor.{_CAMERA}_known_person") == "off"
    stage.hold(None)
    wait_for("the event", lambda: home.attributes(f"event.{_CAMERA}_event").get("event_type") == "left")

    print("the camera, with the integration MJPEG IP Camera")
    place = f"{server.url}/cameras/{shown['camera']}"
    still = f"{place}/snapshot.jpg?width=640"
    server.always = {"headers": {"X-Api-Key": key_of(server, "admin")}}
    login = {"username": "home-assistant", "password": key_of(server, "read")}
    home.add_integration("mjpeg", name="Names at the door", mjpeg_url=f"{place}/stream", still_image_url=still, **login)
    wait_for("the camera", lambda: home.state("camera.names_at_the_door") in ("idle", "streaming"))
    reply = home.raw("/api/camera_proxy/camera.names_at_the_door")
    assert reply.headers["Content-Type"] == "image/jpeg" and pictures.load(reply.content).width == 640
    stream = home.raw("/api/camera_proxy_stream/camera.names_at_the_door", stream=True)
    assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace"), stream.headers
    read = b""
    for chunk in stream.iter_content(4096):
        read += chunk
        if read.count(b"\xff\xd9") >= 3:
            break
    stream.close()
    print("  three pictures of the stream")

    print("restarts are no news")
    before = list(home.fired)
    told = (home.folder / "told").read_bytes()
    unavailable = dict.fromkeys(entities, "unavailable")
    server.stop()
    wait_for("without the server, nothing is available", are(unavailable))
    server.start()
    wait_for("with it again, everything is", are({f"binary_sensor.{_CAMERA}_camera": "on", _OBAMA: "off"}))
    broker.kill()
    wait_for("without the broker, nothing is available", are(unavailable))
    broker.start()
    wait_for("with it again, everything is", are({f"binary_sensor.{_CAMERA}_camera": "on", _OBAMA: "off"}))
    home.stop()
    home.start()
    wait_for("after a restart of Home Assistant as well", are({f"binary_sensor.{_CAMERA}_camera": "on", _OBAMA: "off"}))
    attributes = lambda: home.attributes("sensor.double_take_barack_obama")  # noqa: E731
    wait_for("Double Take's sensor is announced again", lambda: "restored" not in attributes())
    time.sleep(5)  # what comes by mistake comes now
    assert home.fired == before and (home.folder / "told").read_bytes() == told, home.fired[len(before) :]

    print("what is removed here is removed there")
    assert server.request("DELETE", f"/people/{quote(_PERSON)}").status_code == 200
    wait_for("the person", lambda: home.state(_OBAMA) is None)
    wait_for("Double Take's sensor", lambda: home.state("sensor.double_take_barack_obama") is None)
    assert server.request("DELETE", f"/cameras/{shown['camera']}").status_code == 200
    wait_for("the camera", lambda: not [entity for entity in home.states() if _CAMERA in entity and "lock" not in entity])
    listener.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Try this server with Home Assistant itself.")
    parser.add_argument("--environment", type=Path, help="where Home Assistant is, or is put; else a temporary folder")
    parser.add_argument("--python", default=PYTHON, help=f"the Python that it runs on (default: {PYTHON})")
    parser.add_argument("--version", default=VERSION, help=f"the version (default: {VERSION})")
    given = parser.parse_args()
    if MOSQUITTO is None:
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = environment(given.environment or folder / "environment", given.python, given.version)
        (folder / "config").mkdir()
        home = HomeAssistant(python, folder / "config")
        with installation(folder) as (server, stage, broker, shown):
            configure(home.folder, home.port, shown["camera"])
            try:
                try_everything(home, server, stage, broker, shown)
            except AssertionError:
                print(*home.logged(), sep="\n", file=sys.stderr)
                raise
            finally:
                home.stop()
        logged = home.logged()
        print(*logged, sep="\n")
        if logged:
            sys.exit(f"Home Assistant {given.version} logged this")
        print(f"Home Assistant {given.version} shows everything as described")


if __name__ == "__main__":
    main()
