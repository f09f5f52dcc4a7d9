"""deploy/: every file can be read by whoever gets it, and speaks of metrics, settings, paths and files that there are."""

from __future__ import annotations

import http.server
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from recognizer.core import logs
from recognizer.core.metrics import METRICS, PROCESS_METRICS
from recognizer.core.settings import PREFIX, SETTINGS, Settings, secret_file

from .brokers import free_port
from .e2e.serving import Server

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yml"))
NODES = DEPLOY / "kubernetes" / "nodes"
#: Of nodes that share a database; values of a Helm chart are no resource.
MANIFESTS = sorted(path for path in NODES.rglob("*.yml") if path.name not in ("kustomization.yml", "adapter-values.yml"))
KUSTOMIZATIONS = sorted(NODES.rglob("kustomization.yml"))
OVERLAYS = sorted(path.parent for path in KUSTOMIZATIONS if path.parent.parent.name == "overlays")
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())

#: Names that Prometheus makes of a metric's.
SERIES = {
    name
    for each in (*METRICS, *PROCESS_METRICS)
    for name in ([f"{each.name}_{part}" for part in ("bucket", "sum", "count")] if each.kind == "histogram" else [each.name])
}
LABELS = {each.name: {*each.labels, "le"} if each.kind == "histogram" else set(each.labels) for each in METRICS}
#: What Prometheus itself adds.
SCRAPED = {"instance", "job"}


def load(path: Path) -> list:
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: name and argument, without comments, continued lines joined."""
    text = "\n".join(line for line in DOCKERFILE.read_text("utf-8").splitlines() if not line.lstrip().startswith("#"))
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(name.upper(), rest.strip()) for name, _, rest in (line.strip().partition(" ") for line in lines) if name]


def stages() -> list[list[tuple[str, str]]]:
    found = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


def copies(stage: list[tuple[str, str]]) -> list[tuple[list[str], str]]:
    """Sources in the repository, and where they go."""
    found = []
    for name, rest in stage:
        parts = shlex.split(rest)
        if name == "COPY" and not parts[0].startswith("--from"):
            found.append((parts[:-1], parts[-1]))
    return found


def environ(stage: list[tuple[str, str]]) -> dict[str, str]:
    return dict(part.split("=", 1) for name, rest in stage if name == "ENV" for part in shlex.split(rest))


# -- container -------------------------------------------------------------------------------------------------------


def test_everything_that_is_copied_is_there_and_is_not_ignored():
    kept = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [source for stage in stages() for sources, _ in copies(stage) for source in sources]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in kept, f"{source} is left out by Dockerfile.dockerignore"
    assert set(kept) == set(sources)


def test_no_faces_get_into_the_image():
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert next(rule for rule in rules if not rule.startswith("#")) == "*"
    assert not any("known_faces" in source for stage in stages() for sources, _ in copies(stage) for source in sources)


def test_it_is_built_in_stages_and_runs_as_somebody_without_rights():
    build, final = stages()
    assert ("FROM", "python:3.13-slim AS build") in build
    assert not any("pip install" in rest for _, rest in final), "nothing is installed in the stage that is shipped"
    user = [rest for name, rest in final if name == "USER"]
    assert user and re.fullmatch(r"[1-9]\d*:[1-9]\d*", user[-1]), "a number other than root's, which Kubernetes can check"
    assert any(name == "HEALTHCHECK" and "/health/live" in rest for name, rest in final)
    weights = next(rest for name, rest in build if name == "RUN" and "models fetch" in rest)
    assert weights and environ(build)["RECOGNIZER_MODELS_DIR"] == environ(final)["RECOGNIZER_MODELS_DIR"]


def test_modules_are_compiled_before_nothing_can_be_written():
    final = stages()[-1]
    compiled = next(at for at, (name, rest) in enumerate(final) if name == "RUN" and "compileall" in rest)
    assert compiled > max(at for at, (name, _) in enumerate(final) if name == "COPY")
    assert compiled < next(at for at, (name, _) in enumerate(final) if name == "USER")


def test_the_linter_has_nothing_to_say():
    hadolint = shutil.which("hadolint")
    if not hadolint:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.e2e
def test_what_is_copied_is_enough_to_serve(tmp_path, photos, models_dir, monkeypatch):
    """The image's own files, in a folder that cannot be written to, with its settings and its command."""
    final = stages()[-1]
    app = tmp_path / "app"
    app.mkdir()
    for sources, place in copies(final):
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, app / place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, app)
    told = {name: value for name, value in environ(final).items() if name.startswith(PREFIX)}
    told |= {
        "RECOGNIZER_KNOWN_FACES": str(tmp_path / "known_faces"),
        "RECOGNIZER_STATE_DIR": str(tmp_path / "state"),
        "RECOGNIZER_MODELS_DIR": str(models_dir),
        "RECOGNIZER_HOST": "127.0.0.1",
    }
    command = json.loads(next(rest for name, rest in final if name == "CMD"))
    command = [str(Path(sys.executable).parent / command[0]), *command[1:-1], "0"]
    assert command[-2] == "-p"
    monkeypatch.setattr("tests.e2e.serving.ROOT", app)
    settings = {name.removeprefix(PREFIX).lower(): value for name, value in told.items()}
    server = Server(tmp_path, tuple(command), **settings, fetch_allow="")
    server.put("Barack Obama/one.jpg", photos["obama.jpg"].read_bytes())
    for path in (app, *app.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with server:
            assert server.names(photos["obama2.jpg"].read_bytes()) == ["Barack Obama"]
            assert not list(app.rglob("__pycache__")) or os.geteuid() == 0
            check = json.loads(next(rest for name, rest in final if name == "HEALTHCHECK").partition("CMD ")[2])
            probe = [sys.executable, *check[1:-1], check[-1].replace("8000", str(server.port))]
            assert subprocess.run(probe).returncode == 0
        assert subprocess.run(probe, stderr=subprocess.DEVNULL).returncode != 0
    finally:
        for path in (app, *app.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_no_container_is_started_without_a_key():
    """The image serves other machines, which the server does for nobody without one."""
    assert environ(stages()[-1])["RECOGNIZER_HOST"] == "0.0.0.0"
    (compose,) = load(DEPLOY / "docker-compose.yml")
    assert compose["services"]["recognizer"]["environment"]["RECOGNIZER_ADMIN_KEY"].startswith("${RECOGNIZER_ADMIN_KEY:?")
    (container,) = resources()["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "recognizer"}}], "optional would let it start and fail"
    (config,) = load(DEPLOY / "prometheus.yml")
    name = Path(config["scrape_configs"][0]["authorization"]["credentials_file"]).relative_to("/run/secrets").name
    assert name in compose["services"]["prometheus"]["secrets"] and name in compose["secrets"]


def volumes_of(services: dict) -> set[str]:
    """Names of the volumes that services use; their ports are this machine's, and the files that they mount are there."""
    used = set()
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} answers other machines"
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                used.add(source)
    return used


def test_compose_mounts_files_that_are_there():
    (compose,) = load(DEPLOY / "docker-compose.yml")
    services = compose["services"]
    build = services["recognizer"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DOCKERFILE)
    assert volumes_of(services) <= set(compose["volumes"])
    assert all(service["cap_drop"] == ["ALL"] for service in services.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_setting_that_is_named_exists(path):
    settings = {PREFIX + item.name.upper() for item in SETTINGS}
    settings |= {file for item in SETTINGS if (file := secret_file(item.name))}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", path.read_text("utf-8"))) <= settings


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".yml"], ids=lambda path: path.name)
def test_yaml_can_be_read(path):
    assert all(load(path))


# -- Kubernetes ------------------------------------------------------------------------------------------------------


def resources() -> dict[str, dict]:
    return {each["kind"]: each for path in KUBERNETES for each in load(path)}


@pytest.mark.parametrize("kind", sorted(resources()))
def test_kubernetes_would_take_it(kind):
    validate = pytest.importorskip("kubernetes_validate").validate
    validate(resources()[kind], "1.31", strict=True)


def test_the_deployment_holds_together(reader_routes):
    found = resources()
    assert {"Deployment", "Service", "PersistentVolumeClaim", "NetworkPolicy"} <= set(found)
    pod = found["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert found["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == found["PersistentVolumeClaim"]["metadata"]["name"]
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in reader_routes
    assert pod["metadata"]["annotations"]["prometheus.io/path"] in reader_routes
    final = stages()[-1]
    user = next(rest for name, rest in final if name == "USER").split(":")[0]
    assert str(pod["spec"]["securityContext"]["runAsUser"]) == user
    assert f"EXPOSE {container['ports'][0]['containerPort']}" in [f"{name} {rest}" for name, rest in final]
    data = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "data")
    for name in ("RECOGNIZER_KNOWN_FACES", "RECOGNIZER_STATE_DIR"):
        assert environ(final)[name].startswith(data + "/")
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["enableServiceLinks"] is False, "RECOGNIZER_PORT and others, of the service, are no settings"


# -- nodes that share a database ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(NODES)))
def test_kubernetes_would_take_each_part(path):
    validate = pytest.importorskip("kubernetes_validate").validate
    for each in load(path):
        validate(each, "1.31", strict=True)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: str(path.parent.relative_to(NODES)))
def test_a_kustomization_names_what_there_is(path):
    (content,) = load(path)
    assert content["kind"] == ("Component" if path.parent.parent.name == "components" else "Kustomization")
    assert content["namespace"] == "recognizer-nodes", "without it, names in components and base do not find each other"
    for name in content["resources"]:
        assert (path.parent / name).exists(), name
    for name in content.get("components", ()):
        assert (path.parent / name / "kustomization.yml").is_file(), name
    assert {file.name for file in path.parent.glob("*.yml")} - {"kustomization.yml", "adapter-values.yml"} <= set(
        content["resources"]
    )
    for patch in content.get("patches", ()):
        assert yaml.safe_load(patch["patch"])


def test_every_component_is_of_some_overlay():
    used = {(path / name).resolve() for path in OVERLAYS for name in load(path / "kustomization.yml")[0]["components"]}
    assert used == {path.parent for path in KUSTOMIZATIONS if path.parent.parent.name == "components"}


_RENDERED: dict[Path, list[dict]] = {}


@pytest.fixture(params=OVERLAYS, ids=lambda path: path.name)
def rendered(request) -> list[dict]:
    """What `kubectl apply -k` would send."""
    if request.param not in _RENDERED:
        kubectl = shutil.which("kubectl")
        if not kubectl:
            pytest.skip("kubectl is not installed (Debian 13: kubernetes-client)")
        done = subprocess.run([kubectl, "kustomize", request.param], capture_output=True, text=True)
        if "unknown command" in done.stderr:
            pytest.skip("this kubectl has no kustomize")
        assert done.returncode == 0, done.stderr
        _RENDERED[request.param] = list(yaml.safe_load_all(done.stdout))
    return _RENDERED[request.param]


def of_kind(found: list[dict], *kinds: str) -> list[dict]:
    return [each for each in found if each["kind"] in kinds]


def labelled(found: list[dict], selector: dict) -> list[dict]:
    """What has pods that a selector means."""
    return [
        each
        for each in of_kind(found, "Deployment", "StatefulSet")
        if selector.items() <= each["spec"]["template"]["metadata"]["labels"].items()
    ]


def test_kubernetes_would_take_an_overlay(rendered):
    validate = pytest.importorskip("kubernetes_validate").validate
    for each in rendered:
        validate(each, "1.31", strict=True)
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "recognizer-nodes"


def test_nodes_hold_together(rendered, reader_routes):
    names = {(each["kind"], each["metadata"]["name"]) for each in rendered}
    assert len(names) == len(rendered)
    final = stages()[-1]
    user = next(rest for name, rest in final if name == "USER").split(":")[0]
    documented = (ROOT / "docs" / "scale.md").read_text("utf-8")
    for workload in of_kind(rendered, "Deployment", "StatefulSet", "Job", "CronJob"):
        pod = workload["spec"].get("jobTemplate", workload)["spec"]["template"]
        spec = pod["spec"]
        (container,) = spec["containers"]
        assert container["image"] == "registry.example.org/recognizer:latest", "the overlay's"
        assert spec["enableServiceLinks"] is False and spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True and str(spec["securityContext"]["runAsUser"]) == user
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        volumes = {each["name"] for each in spec["volumes"]}
        volumes |= {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", ())}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        for volume in spec["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
        for source in container["envFrom"]:
            if "configMapRef" in source:
                assert ("ConfigMap", source["configMapRef"]["name"]) in names
            else:
                assert f"secret generic {source['secretRef']['name']} " in documented
        if workload["kind"] in ("Job", "CronJob"):
            continue
        assert workload["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"] in reader_routes
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
        assert pod["metadata"]["annotations"]["prometheus.io/path"] in reader_routes
        # ten seconds for the server after what it waits before
        assert spec["terminationGracePeriodSeconds"] > 10 + int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert f"EXPOSE {container['ports'][0]['containerPort']}" in [f"{name} {rest}" for name, rest in final]
    for service in of_kind(rendered, "Service"):
        assert len(labelled(rendered, service["spec"]["selector"])) == 1
    (budget,) = of_kind(rendered, "PodDisruptionBudget")
    (guarded,) = labelled(rendered, budget["spec"]["selector"]["matchLabels"])
    scalers = of_kind(rendered, "HorizontalPodAutoscaler")
    assert ("replicas" in guarded["spec"]) != bool(scalers), "two say how many"
    least = scalers[0]["spec"]["minReplicas"] if scalers else guarded["spec"]["replicas"]
    assert budget["spec"]["minAvailable"] < least, "no machine could be emptied"
    for policy in of_kind(rendered, "NetworkPolicy"):
        assert labelled(rendered, policy["spec"]["podSelector"]["matchLabels"])


def test_nodes_are_given_settings_that_work_together(rendered, tmp_path):
    """What each pod gets makes settings, with files of its secret that the documentation tells to make."""
    configs = {each["metadata"]["name"]: each["data"] for each in of_kind(rendered, "ConfigMap")}
    documented = (ROOT / "docs" / "scale.md").read_text("utf-8")
    for workload in of_kind(rendered, "Deployment", "StatefulSet"):
        spec = workload["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        told = {}
        for source in container["envFrom"]:
            told |= configs.get(source.get("configMapRef", {}).get("name"), {})
        pod = f"{workload['metadata']['name']}-0"
        for each in container["env"]:
            told[each["name"]] = each.get("value", pod).replace("$(POD_NAME)", pod)
        (secrets,) = (each for each in spec["volumes"] if "secret" in each)
        place = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == secrets["name"])
        for name, value in told.items():
            if name.endswith("_FILE"):
                assert Path(value).parent == Path(place)
                assert f"--from-file={Path(value).name}=" in documented
                told[name] = str(tmp_path / name)
                Path(told[name]).write_text("postgresql://recognizer@db/recognizer" if "DATABASE" in name else "x" * 40)
        settings = Settings.from_environment(told)
        assert settings.database_url and settings.photos and settings.admin_key and settings.encryption_key_file
        assert settings.node_cameras == (workload["kind"] == "StatefulSet")
        if settings.node_cameras:
            (service,) = (each for each in of_kind(rendered, "Service") if each["spec"].get("clusterIP") == "None")
            host = f"{pod}.{service['metadata']['name']}"
            assert settings.node_url == f"http://{host}:{service['spec']['ports'][0]['port']}"
            assert workload["spec"]["serviceName"] == service["metadata"]["name"] and workload["spec"]["replicas"] == 1
        if settings.photos.startswith("/"):
            assert settings.photos in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_the_autoscaler_reads_a_metric_of_ours():
    folder = NODES / "components" / "autoscaling"
    (scaler,) = load(folder / "autoscaler.yml")
    (metric,) = scaler["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert name in SERIES
    (deployment,) = of_kind(load(NODES / "base" / "nodes.yml"), "Deployment")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (values,) = load(folder / "adapter-values.yml")
    (rule,) = values["rules"]["custom"]
    assert rule["name"] == {"matches": name, "as": name}
    assert [each for each, _ in selectors(rule["seriesQuery"])] == [name]
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.Series>>", name)
    assert selectors(query.replace("<<.LabelMatchers>>", 'pod="a"')) == [(name, {"pod"})]


def nodes_compose() -> dict:
    (content,) = load(DEPLOY / "compose.nodes.yml")
    return content


def test_compose_of_nodes_holds_together():
    compose = nodes_compose()
    services = compose["services"]
    assert {"database", "store", "migration", "node-a", "node-b", "balancer", "prometheus", "grafana"} == set(services)
    used = {"volumes": volumes_of(services), "secrets": set()}
    for service in services.values():
        used["secrets"] |= set(service.get("secrets", ()))
        for other, wait in service.get("depends_on", {}).items():
            assert other in services
            assert wait["condition"] != "service_healthy" or "healthcheck" in services[other]
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        if "build" in service:
            build = service["build"]
            assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DOCKERFILE)
            assert service["read_only"] is True
    assert used["volumes"] == set(compose["volumes"]) and used["secrets"] == set(compose["secrets"])
    documented = (ROOT / "docs" / "scale.md").read_text("utf-8")
    asked = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.nodes.yml").read_text()))
    for name in asked | {secret["environment"] for secret in compose["secrets"].values()}:
        assert f"export {name}=" in documented, name


def test_nodes_of_compose_are_given_settings_that_work_together(tmp_path):
    compose = nodes_compose()
    services = compose["services"]
    proxy = services["balancer"]["networks"]["default"]["ipv4_address"]
    for name in ("node-a", "node-b"):
        told = {key: value for key, value in services[name]["environment"].items() if key.startswith(PREFIX)}
        for key, value in told.items():
            if key.endswith("_FILE"):
                assert Path(value).parent == Path("/run/secrets") and Path(value).name in services[name]["secrets"]
                told[key] = str(tmp_path / key)
                Path(told[key]).write_text("postgresql://recognizer@db/recognizer" if "DATABASE" in key else "x" * 40)
        settings = Settings.from_environment(told)
        assert settings.database_url and settings.admin_key and settings.encryption_key_file
        assert settings.photos == "s3://faces/photos" and settings.node_url == f"http://{name}:8000"
        assert told["RECOGNIZER_TRUSTED_PROXIES"] == proxy
        assert services[name]["environment"]["AWS_ENDPOINT_URL"] == "http://store:9000"
        assert services[name]["depends_on"]["migration"]["condition"] == "service_completed_successfully"
    (config,) = load(DEPLOY / "prometheus.nodes.yml")
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["node-a:8000", "node-b:8000"]}]
    assert Path(job["authorization"]["credentials_file"]).name in services["prometheus"]["secrets"]
    assert all((DEPLOY / rules).is_file() for rules in config["rule_files"])


def test_what_is_added_to_the_image_can_be_installed():
    added = {
        part for service in nodes_compose()["services"].values() for part in service.get("build", {}).get("args", {}).values()
    }
    assert added == {"postgres"}
    copied = [source for sources, _ in copies(stages()[0]) for source in sources]
    named = re.search(r'"([a-z ]+)" are all there are', DOCKERFILE.read_text("utf-8"))
    assert named and all(f"requirements-{extra}.txt" in copied for extra in {*named[1].split(), *added})


@pytest.mark.parametrize("extras", ["", "postgres", "postgres otel"])
def test_extras_are_installed_after_the_rest(extras, tmp_path):
    run = next(rest for name, rest in stages()[0] if name == "RUN" and "$EXTRAS" in rest)
    script = run.replace("/opt/recognizer/bin/pip install", "echo").replace("python -m venv /opt/recognizer", "true")
    done = subprocess.run(["sh", "-c", script], env={**os.environ, "EXTRAS": extras}, capture_output=True, text=True)
    wanted = ["requirements.txt", *(f"requirements-{extra}.txt" for extra in extras.split())]
    assert done.stdout.splitlines() == [f"-r {each}" for each in wanted]


def test_the_balancer_sends_to_the_nodes_that_are_ready(reader_routes):
    text = (DEPLOY / "haproxy.cfg").read_text("utf-8")
    check = re.search(r"option httpchk GET (\S+)", text)
    assert check and check[1] == "/health/ready" and check[1] in reader_routes
    assert re.findall(r"^    server (\S+) (\S+) check", text, re.M) == [(name, f"{name}:8000") for name in ("node-a", "node-b")]
    for header in ("X-Forwarded-For", "X-Forwarded-Prefix"):
        assert f"http-request del-header {header}\n" in text, "a client could name another address or place"


def test_haproxy_would_take_its_configuration():
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not haproxy:
        pytest.skip("haproxy is not installed")
    done = subprocess.run([haproxy, "-c", "-f", DEPLOY / "haproxy.cfg"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.e2e
def test_pods_that_are_gone_are_forgotten(database_url, tmp_path):
    import psycopg

    (job,) = load(NODES / "base" / "forgetting.yml")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (deployment,) = of_kind(load(NODES / "base" / "nodes.yml"), "Deployment")
    pods = deployment["metadata"]["name"]
    rows = {"n-1": (f"{pods}-1a-x", 25), "n-2": (f"{pods}-1a-y", 23), "n-3": ("recognizer-camera-0", 25)}
    with psycopg.connect(database_url, autocommit=True) as connection:
        for node, (name, hours) in rows.items():
            connection.execute(
                "insert into node (id, name, version, applied, seen) "
                "values (%s, %s, '1', 0, now() - make_interval(hours => %s))",
                (node, name, hours),
            )
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
            "PYTHONPATH": str(ROOT),
            "RECOGNIZER_DATABASE_URL": database_url,
            "RECOGNIZER_PHOTOS": "/photos",
            "RECOGNIZER_STATE_DIR": str(tmp_path / "state"),
        }
        done = subprocess.run(
            [sys.executable, *container["command"][1:]], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert {row[0] for row in connection.execute("select id from node").fetchall()} == {"n-2", "n-3"}


class _Node(http.server.BaseHTTPRequestHandler):
    """Says which of two servers it is, and what the balancer said of the client."""

    def do_GET(self):
        sent = {name: self.headers.get_all(f"X-Forwarded-{name}") for name in ("For", "Prefix", "Proto")}
        body = json.dumps({"node": self.server.server_port, **sent}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.slow
@pytest.mark.e2e
def test_a_node_that_goes_is_not_noticed_behind_the_balancer(tmp_path):
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not haproxy:
        pytest.skip("haproxy is not installed")
    nodes = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Node) for _ in range(2)]
    threads = [threading.Thread(target=node.serve_forever, args=(0.02,)) for node in nodes]
    port = free_port()
    text = (DEPLOY / "haproxy.cfg").read_text("utf-8").replace("bind :8000", f"bind 127.0.0.1:{port}")
    for name, node in zip(("node-a", "node-b"), nodes, strict=True):
        text = text.replace(f"{name}:8000 check", f"127.0.0.1:{node.server_port} check").replace(" resolvers engine\n", "\n")
    (tmp_path / "haproxy.cfg").write_text(text)
    for thread in threads:
        thread.start()
    balancer = subprocess.Popen([haproxy, "-f", tmp_path / "haproxy.cfg"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lies = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Prefix": "/elsewhere", "X-Forwarded-Proto": "https"}

    def ask() -> dict:
        return requests.get(f"http://127.0.0.1:{port}/people", headers=lies, timeout=10, proxies={"http": ""}).json()

    try:
        end = time.monotonic() + 20
        while True:
            try:
                first = ask()
                break
            except requests.RequestException:
                assert time.monotonic() < end
                time.sleep(0.05)
        assert (first["For"], first["Prefix"], first["Proto"]) == (["127.0.0.1"], None, ["http"])
        assert {ask()["node"] for _ in range(10)} == {node.server_port for node in nodes}
        nodes[0].shutdown()
        nodes[0].server_close()
        assert {ask()["node"] for _ in range(10)} == {nodes[1].server_port}
    finally:
        balancer.terminate()
        balancer.wait(10)
        for node, thread in zip(nodes, threads, strict=True):
            node.shutdown()
            node.server_close()
            thread.join(10)


@pytest.mark.slow
@pytest.mark.e2e
def test_tables_are_made_once_by_compose_and_kubernetes(cluster, tmp_path):
    """An empty database gets its tables from the one's command, and the other's finds nothing to do."""
    import psycopg

    (job,) = load(NODES / "base" / "migration.yml")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    command = container["command"][-1]
    assert command in nodes_compose()["services"]["migration"]["command"][-1].splitlines()
    url = tmp_path / "url"
    url.write_text(cluster.make_database("template0"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RECOGNIZER_DATABASE_URL_FILE": str(url),
        "RECOGNIZER_STATE_DIR": str(tmp_path / "state"),
    }
    for photos in ("/photos", "s3://faces/photos"):  # the job has neither the folder nor the bucket's credentials
        environment["RECOGNIZER_PHOTOS"] = photos
        done = subprocess.run(["sh", "-c", command], env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with psycopg.connect(url.read_text()) as connection:
        assert connection.execute("select count(*) from subject").fetchone() == (0,)
    url.write_text("postgresql://nobody@127.0.0.1:1/none")
    assert subprocess.run(["sh", "-c", command], env=environment, cwd=tmp_path, capture_output=True).returncode != 0


@pytest.fixture
def reader_routes() -> set[str]:
    import api
    from recognizer.http.hug_adapter import described_routes

    return {route.path for route in described_routes(api.api) if route.method == "GET"}


# -- proxies and systemd -----------------------------------------------------------------------------------------------

PROXIES = sorted((DEPLOY / "proxy").iterdir())


def without_comments(path: Path) -> str:
    return re.sub(r"^\s*#.*$", "", path.read_text("utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("path", PROXIES, ids=lambda path: path.name)
def test_a_proxy_takes_what_the_server_takes_and_lets_it_refuse_the_rest(path):
    (most,) = (int(item.default) for item in SETTINGS if item.name == "max_body_bytes")
    text = without_comments(path)
    sizes = re.findall(r"(?:client_max_body_size|max_size) (\d+)(?:m;|MB)", text)
    assert len(sizes) == len(re.findall(r"proxy_pass|reverse_proxy", text)) == 2  # at the root, and below a path
    for size in sizes:
        assert most < int(size) * 1_000_000 < 1.1 * most


@pytest.mark.parametrize("path", PROXIES, ids=lambda path: path.name)
def test_a_proxy_says_what_is_to_be_trusted_and_buffers_no_stream(path):
    text, comments = without_comments(path), path.read_text("utf-8")
    assert "RECOGNIZER_TRUSTED_PROXIES=127.0.0.1" in comments
    (hosts,) = re.findall(r"RECOGNIZER_ALLOWED_HOSTS=(\S+)", comments)
    for host in hosts.split(","):
        assert re.search(rf"^(?:    server_name )?{re.escape(host)}[; ]", text, re.MULTILINE), host
    assert len(re.findall(r"proxy_buffering off|flush_interval -1", text)) == 2
    # what a client sends is replaced, or removed
    assert re.findall(r"X-Forwarded-Prefix(.*)", text) in [[' "";', " /face;"], ["", " /face"]]


UNIT = DEPLOY / "systemd" / "recognizer.service"


def unit() -> dict[str, list[str]]:
    """The values of each key of the unit, in their order."""
    found: dict[str, list[str]] = {}
    for line in without_comments(UNIT).splitlines():
        if "=" in line:
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_service_starts_a_command_that_there_is_and_writes_where_it_may():
    from recognizer.cli import main as cli

    found = unit()
    _, command, *options = found["ExecStart"][0].split()
    serve = cli.get_command(None, command)
    named = {name for option in serve.params for name in option.opts}
    assert {option for option in options if option.startswith("-")} <= named
    own = (f"/var/lib/{found['StateDirectory'][0]}", f"/var/cache/{found['CacheDirectory'][0]}")
    told = dict(value.split("=", 1) for value in found["Environment"])
    for name in ("RECOGNIZER_KNOWN_FACES", "RECOGNIZER_STATE_DIR", "RECOGNIZER_MODELS_DIR"):
        assert told[name].startswith(own), name
    assert found["User"] != ["root"] and found["ProtectSystem"] == ["strict"] and found["CapabilityBoundingSet"] == [""]
    assert int(found["TimeoutStopSec"][0]) > 9  # what docs/operations.md promises


def test_systemd_would_take_the_service(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / UNIT.name
    # its program is not installed here
    copy.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text("utf-8"), flags=re.MULTILINE))
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True)
    if done.returncode and str(copy) not in done.stderr and UNIT.name not in done.stderr:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0 and UNIT.name not in done.stderr, done.stderr


# -- Ansible -----------------------------------------------------------------------------------------------------------

ROLE = DEPLOY / "ansible" / "roles" / "recognizer"
HOWTO = ROOT / "docs" / "howto" / "ansible.md"


def test_every_variable_of_the_role_is_documented_and_used():
    (defaults,) = load(ROLE / "defaults" / "main.yml")
    documented = re.findall(r"^\| `(\w+)` \|", HOWTO.read_text("utf-8"), re.M)
    assert sorted(documented) == sorted(defaults)
    texts = "\n".join(path.read_text("utf-8") for folder in ("tasks", "templates") for path in (ROLE / folder).iterdir())
    assert not [name for name in defaults if not re.search(rf"\b{name}\b", texts)]


def test_the_role_installs_what_the_unit_starts():
    unit_text, tasks = UNIT.read_text("utf-8"), {path.stem: load(path)[0] for path in (ROLE / "tasks").glob("*.yml")}
    (copied,) = (each["ansible.builtin.copy"] for each in tasks["service"] if "role_path" in str(each))
    assert (ROLE / copied["src"].removeprefix("{{ role_path }}/")).resolve() == UNIT
    (pip, _) = (each["ansible.builtin.pip"] for each in tasks["program"] if "ansible.builtin.pip" in each)
    assert f"ExecStart={pip['virtualenv']}/bin/recognizer" in unit_text
    (folders,) = (each for each in tasks["program"] if each["name"] == "Folders of the server")
    # systemd would change what is otherwise there
    assert folders["loop"] == ["/var/lib/recognizer", "/var/cache/recognizer"]
    found = unit()
    assert found["StateDirectoryMode"] == found["CacheDirectoryMode"] == [folders["ansible.builtin.file"]["mode"]]
    (settings,) = (each for each in tasks["settings"] if "ansible.builtin.template" in each)
    assert found["EnvironmentFile"] == [f"-{settings['ansible.builtin.template']['dest']}"]
    (_, tables) = (each for each in tasks["tables"])
    assert tables["environment"].count("RECOGNIZER_STATE_DIR") == 1
    assert f"Environment=RECOGNIZER_STATE_DIR={re.findall(r'/var/lib/[a-z/]+', tables['environment'])[0]}\n" in unit_text


def test_changed_parts_restart_the_service():
    (handlers,) = load(ROLE / "handlers" / "main.yml")
    names = {each["name"] for each in handlers}
    for path in (ROLE / "tasks").glob("*.yml"):
        for task in load(path)[0]:
            assert task.get("notify") in {None, *names}, task["name"]
            writes = str(task.get("ansible.builtin.template", task.get("ansible.builtin.copy", "")))
            if any(place in writes for place in ("/etc/recognizer", "/etc/systemd")):
                assert task.get("notify") == "Restart the server", task["name"]
            if "recognizer_secrets" in str(task.get("loop")):
                assert task["no_log"] is True


# -- Prometheus and Grafana ------------------------------------------------------------------------------------------


def alerts() -> list[dict]:
    (content,) = load(DEPLOY / "alerts.yml")
    return [rule for group in content["groups"] for rule in group["rules"]]


def queries() -> list[tuple[str, str]]:
    """Where a query stands, and the query with Grafana's variables filled in."""
    found = [(rule["alert"], rule["expr"]) for rule in alerts()]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel["targets"]:
                query = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
                found.append((f"{path.name}: {panel['title']}", query))
    return found


def selectors(query: str) -> list:
    """Every vector selector of a query: its metric's name and the labels that it matches."""
    parser = pytest.importorskip("promql_parser")
    found = []

    def walk(node):
        if isinstance(node, parser.VectorSelector):
            found.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
        for name in ("expr", "lhs", "rhs", "vs", "vector_selector", "param"):
            inner = getattr(node, name, None)
            if inner is not None and not isinstance(inner, str):
                walk(inner)
        args = getattr(node, "args", None)
        for inner in getattr(args, "args", args) or ():
            walk(inner)

    walk(parser.parse(query))
    return found


def test_the_parser_of_this_test_finds_what_is_there():
    query = 'sum by (le) (rate(a_bucket{x="1"}[5m])) / b > 2 and c{y=~"2"} == 1 or histogram_quantile(0.9, rate(d[5m]))'
    assert {name for name, _ in selectors(query)} == {"a_bucket", "b", "c", "d"}


@pytest.mark.parametrize(("where", "query"), queries(), ids=lambda value: value[:40])
def test_every_query_asks_for_metrics_and_labels_that_exist(where, query):
    found = selectors(query)
    assert found, query
    for name, labels in found:
        if name == "up":
            continue
        assert name in SERIES, f"{where}: there is no {name}"
        base = re.sub(r"_(bucket|sum|count)$", "", name) if name not in LABELS else name
        assert labels <= LABELS.get(base, set()) | SCRAPED, f"{where}: {name} has no {labels}"
        for grouping in re.findall(r"by \(([^)]*)\)", query):
            for label in grouping.replace(" ", "").split(","):
                assert any(label in (LABELS.get(re.sub(r"_(bucket|sum|count)$", "", n), set()) | SCRAPED) for n, _ in found)


def test_every_metric_of_ours_is_looked_at():
    shown = " ".join(query for _, query in queries())
    assert not {each.name for each in METRICS if each.name not in shown}


def test_alerts_say_what_is_wrong():
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names) >= 8
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning", "info") and rule["annotations"]["summary"]


def test_prometheus_asks_where_the_server_answers(reader_routes):
    (config,) = load(DEPLOY / "prometheus.yml")
    (job,) = config["scrape_configs"]
    assert job["job_name"] == "recognizer" and job["metrics_path"] in reader_routes
    assert job["static_configs"] == [{"targets": ["recognizer:8000"]}]
    for name in config["rule_files"]:
        assert (DEPLOY / name).is_file()


def test_panels_have_their_place():
    for path in DASHBOARDS:
        panels = json.loads(path.read_text("utf-8"))["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken = set()
        for panel in panels:
            x, y, w, h = (panel["gridPos"][name] for name in "xywh")
            cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
            assert x + w <= 24 and not cells & taken, panel["title"]
            taken |= cells


# -- logs --------------------------------------------------------------------------------------------------------------


def test_the_collector_of_logs_reads_fields_that_lines_have():
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "operations.md").read_text("utf-8").split("## Metrics")[0]))
    text = (DEPLOY / "alloy.alloy").read_text("utf-8")
    record = logging.LogRecord("recognizer.access", logging.ERROR, __file__, 1, "message", (), None)
    fields = set(json.loads(logs.JsonFormatter().format(record)))
    asked = set(re.findall(r'"(\w+)" = ""', text))
    assert asked == {"time", "level", "logger"} and asked <= fields & documented
    # what a component is sent to must be there
    for kind, label in re.findall(r"(loki\.\w+|discovery\.\w+)\.(\w+)\.(?:receiver|output|targets)", text):
        assert f'{kind} "{label}" {{' in text
