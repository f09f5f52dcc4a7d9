"""The Kubernetes manifests of deploy/, run as pods by Podman: by hand, on Debian or Ubuntu, as root.

::

    apt-get install mmdebstrap buildah podman netavark aardvark-dns runc catatonit kubernetes-client
    python -m tests.manual.pods [--keep FOLDER]

There is no Kubernetes, only Podman (`kube play`), which makes pods as the manifests say, with their volumes, settings, secrets,
user, read-only root, capabilities and limits of memory. This script takes the place of the controllers: it makes pods out of
Deployments, StatefulSets and Jobs, asks what the probes ask, and gives each pod its own empty folders. Services, policies, the
autoscaler and the disruption budget are left out.

Ends with 0 if the single server recognises, keeps what was enrolled and ends in time, and if the overlay `campus` makes its
tables, recognises on one node whom another enrolled, reads cameras on one node alone, and forgets no node that is there.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import requests
import yaml

from .. import photos as real_photos
from ..e2e.serving import ROOT
from .podman import Podman, needs, until

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAY = KUBERNETES / "nodes" / "overlays" / "campus"
NETWORK = "recognizer-pods"
IMAGES = ("localhost/recognizer:latest", "registry.example.org/recognizer:latest")
DATABASE, STORE = "pgvector/pgvector:pg17", "quay.io/minio/minio:any"


def of_kind(found: list[dict], *kinds: str) -> list[dict]:
    return [each for each in found if each["kind"] in kinds]


def template(workload: dict) -> dict:
    """The pods of a workload."""
    return workload["spec"].get("jobTemplate", workload)["spec"]["template"]


class Pods:
    """Plays what is left of manifests for Podman, one pod at a time."""

    def __init__(self, podman: Podman, folder: Path, key: str):
        self.podman, self.folder, self.key = podman, folder, key
        self.probes: dict[str, dict] = {}

    def play(self, *documents: dict) -> None:
        file = self.folder / "played.yml"
        file.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        done = self.podman.try_("kube", "play", "--network", NETWORK, file)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{file.read_text()}"

    def secret(self, name: str, values: dict[str, str], volume: bool) -> None:
        """A secret in the two forms that Podman 4 wants: plain for a volume, and for the environment as JSON with Base64."""
        file = self.folder / f"{name}.json"
        encoded = {key: b64encode(value.encode()).decode() for key, value in values.items()}
        held = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": values} if volume else encoded
        file.write_text(json.dumps(held))
        self.podman("secret", "create", name, file)

    def pod(self, workload: dict, number: int, configs: list[dict]) -> str:
        """Run one pod of a workload; its container."""
        made = deepcopy(template(workload))
        name = f"{workload['metadata']['name']}-{number}"
        made |= {"apiVersion": "v1", "kind": "Pod"}
        made["metadata"] = {"name": name, "labels": made["metadata"]["labels"]}
        spec = made["spec"]
        (container,) = spec["containers"]
        claims = [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": f"{each['metadata']['name']}-{name}"},
                "spec": each["spec"],
            }
            for each in workload["spec"].get("volumeClaimTemplates", ())
        ]
        for claim in claims:
            volume = claim["metadata"]["name"].removesuffix(f"-{name}")
            spec["volumes"].append({"name": volume, "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}})
        # Podman names an empty folder by the volume, for all pods; and it publishes every port of a container
        for volume in spec["volumes"]:
            if "emptyDir" in volume:
                for mount in container["volumeMounts"]:
                    if mount["name"] == volume["name"]:
                        mount["name"] = f"{volume['name']}-{name}"
                volume["name"] = f"{volume['name']}-{name}"
            if "secret" in volume:
                volume["secret"]["optional"] = False  # Podman 4 ends without it
        container.pop("ports", None)
        for each in container.get("env", ()):  # Podman leaves names of variables in values as they are
            if "value" in each:
                each["value"] = each["value"].replace("$(POD_NAME)", name)
        self.probes[f"{name}-{container['name']}"] = {
            kind: container.pop(kind) for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in container
        }
        self.play(*configs, *claims, made)
        return f"{name}-{container['name']}"

    def probe(self, container: str, kind: str) -> bool:
        """What the kubelet would ask."""
        get = self.probes[container][kind]["httpGet"]
        assert get["port"] == "http"
        try:
            url = f"http://{self.address(container)}:8000{get['path']}"
            return requests.get(url, timeout=5, proxies={"http": ""}).status_code == 200
        except requests.ConnectionError:
            running = self.podman.inspect(container)["State"]["Running"]
            assert running, self.podman.log(container)
            return False

    def ready(self, container: str) -> float:
        return until(lambda: self.probe(container, "readinessProbe"))

    def address(self, container: str) -> str:
        (network,) = self.podman.inspect(self.pod_of(container))["NetworkSettings"]["Networks"].values()
        return network["IPAddress"]

    def pod_of(self, container: str) -> str:
        """The container whose network the pod's others share."""
        return self.podman("pod", "inspect", "--format", "{{.InfraContainerID}}", container.rpartition("-")[0])

    def ask(self, container: str, method: str, path: str, **how) -> requests.Response:
        headers = {"X-Api-Key": self.key, **how.pop("headers", {})}
        url = f"http://{self.address(container)}:8000{path}"
        return requests.request(method, url, headers=headers, timeout=60, proxies={"http": ""}, **how)

    def enrol(self, container: str, faces: dict[str, Path]) -> dict[str, str]:
        """Enrol somebody; the header with which a request waits for that."""
        photo = {"photo": ("a.jpg", faces["obama.jpg"].read_bytes(), "image/jpeg")}
        answer = self.ask(container, "POST", "/enroll", data={"subject": "Barack Obama"}, files=photo)
        assert answer.ok and answer.json()["added"] == 1, answer.text
        return {name: answer.headers[name] for name in ("Recognizer-Change",) if name in answer.headers}

    def recognises(self, container: str, faces: dict[str, Path], headers: dict[str, str]) -> None:
        for file, who in (("obama2.jpg", "Barack Obama"), ("biden.jpg", None)):
            photo = {"photo": (file, faces[file].read_bytes(), "image/jpeg")}
            answer = self.ask(container, "POST", "/recognize", files=photo, headers=headers)
            assert answer.ok and [face["subject"] for face in answer.json()["faces"]] == [who], answer.text

    def end(self, container: str, workload: dict) -> float:
        """Stop a pod as the kubelet does; seconds that it took."""
        spec = template(workload)["spec"]
        for hook in (each.get("lifecycle", {}).get("preStop") for each in spec["containers"]):
            if hook is not None:
                self.podman("exec", container, *hook["exec"]["command"])
        begun = time.monotonic()
        self.podman("stop", "-t", str(spec["terminationGracePeriodSeconds"]), container)
        assert self.podman.inspect(container)["State"]["ExitCode"] == 0, self.podman.log(container)
        return time.monotonic() - begun


@contextmanager
def pods(podman: Podman, folder: Path, key: str) -> Iterator[Pods]:
    """Pods in a network of their own; everything is removed at the end."""

    def clean() -> None:
        for command in (
            ("pod", "rm", "-fa", "-t", "0"),
            ("rm", "-fa", "-t", "0"),
            ("volume", "rm", "-fa"),
            ("secret", "rm", "-a"),
            ("network", "rm", "-f", NETWORK),
        ):
            podman.try_(*command)

    clean()
    podman("network", "create", NETWORK)
    try:
        yield Pods(podman, folder, key)
    except BaseException:
        for name in podman("ps", "-a", "--format", "{{.Names}}").split():
            if "infra" not in name:
                print(f"--- {name}\n{podman.log(name)[-2000:]}", file=sys.stderr)
        raise
    finally:
        clean()


def try_single(made: Pods, faces: dict[str, Path]) -> None:
    """deploy/kubernetes/recognizer.yml, with a volume that outlives the pod."""
    documents = list(yaml.safe_load_all((KUBERNETES / "recognizer.yml").read_text("utf-8")))
    (workload,) = of_kind(documents, "Deployment")
    assert workload["spec"]["replicas"] == 1
    made.secret("recognizer", {"RECOGNIZER_ADMIN_KEY": made.key}, volume=False)
    made.play(*of_kind(documents, "PersistentVolumeClaim"))
    container = made.pod(workload, 0, [])
    print(f"the single server is ready after {made.ready(container):.1f} s")
    assert made.probe(container, "livenessProbe")
    refused = made.ask(container, "GET", "/people", headers={"X-Api-Key": ""})
    assert refused.status_code == 401, refused.text
    made.enrol(container, faces)
    print(f"and ended {made.end(container, workload):.1f} s after SIGTERM")
    made.podman("pod", "rm", "-f", f"{workload['metadata']['name']}-0")
    container = made.pod(workload, 1, [])
    made.ready(container)
    made.recognises(container, faces, {})
    print("a new pod on the same volume recognises who was enrolled")


def services_around(podman: Podman, password: str) -> None:
    """PostgreSQL and a store with the bucket, which the overlay does not bring."""
    given = {"POSTGRES_USER": "recognizer", "POSTGRES_DB": "recognizer", "POSTGRES_PASSWORD": password}
    environment = [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
    podman("run", "-d", "--name", "database", "--network", NETWORK, *environment, DATABASE)
    podman("run", "-d", "--name", "store", "--network", NETWORK, STORE, "server", "/data")
    until(lambda: podman.try_("exec", "database", "pg_isready", "-h", "127.0.0.1", "-U", "recognizer").returncode == 0)

    def bucket() -> bool:
        try:
            return requests.put(f"http://{podman.address('store')}:9000/faces", timeout=10, proxies={"http": ""}).ok
        except requests.ConnectionError:
            return False

    until(bucket)


def try_nodes(made: Pods, faces: dict[str, Path]) -> None:
    """The overlay `campus`: two nodes, a node for the cameras, photos in a bucket."""
    rendered = subprocess.run(["kubectl", "kustomize", OVERLAY], capture_output=True, text=True, check=True).stdout
    documents = list(yaml.safe_load_all(rendered))
    password = secrets.token_hex(16)
    services_around(made.podman, password)
    given = {
        "database-url": f"postgresql://recognizer:{password}@database/recognizer",
        "encryption-key": b64encode(secrets.token_bytes(32)).decode(),
        "admin-key": made.key,
    }
    made.secret("recognizer", given, volume=True)
    bucket = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://store:9000"}
    made.secret("recognizer-bucket", bucket, volume=False)
    configs = of_kind(documents, "ConfigMap")
    by_name = {each["metadata"]["name"]: each for each in of_kind(documents, "Deployment", "StatefulSet", "Job", "CronJob")}

    def to_its_end(name: str) -> str:
        container = made.pod(by_name[name], 0, configs)
        assert made.podman("wait", container) == "0", made.podman.log(container)
        return made.podman.log(container).strip()

    assert "the tables are of version" in to_its_end("recognizer-migration")
    print("the job made the tables")
    nodes = [made.pod(by_name["recognizer-node"], number, configs) for number in range(2)]
    camera = made.pod(by_name["recognizer-camera"], 0, configs)
    print(f"two nodes and the one for cameras are ready after {max(made.ready(each) for each in (*nodes, camera)):.1f} s")
    change = made.enrol(nodes[0], faces)
    assert change, "no Recognizer-Change"
    for each in (nodes[1], camera):
        made.recognises(each, faces, change)
    print("enrolled at one node, recognised at the others")
    url = made.podman("exec", camera, "printenv", "RECOGNIZER_NODE_URL")
    assert url == "http://recognizer-camera-0.recognizer-camera:8000", url
    assert not to_its_end("recognizer-forgetting"), "it forgot somebody"
    print(f"a node ended {made.end(nodes[0], by_name['recognizer-node']):.1f} s after SIGTERM")
    made.recognises(nodes[1], faces, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="keep the images in this folder; the next run is faster")
    options = parser.parse_args()
    needs("kubectl")
    faces = real_photos.fetch_photos("obama.jpg", "obama2.jpg", "biden.jpg")
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep.resolve() if options.keep else Path(name) / "images"
        folder.mkdir(parents=True, exist_ok=True)
        podman = Podman(folder)
        podman.recognizer(*IMAGES)
        with pods(podman, Path(name), secrets.token_hex(32)) as made:
            try_single(made, faces)
        for image in (DATABASE, STORE):
            podman.stand_in(image)
        with pods(podman, Path(name), secrets.token_hex(32)) as made:
            try_nodes(made, faces)
    print("the manifests do what docs/scale.md and docs/operations.md say, as far as pods go")


if __name__ == "__main__":
    main()
