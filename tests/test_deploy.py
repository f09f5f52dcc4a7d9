"""deploy/: every file can be read by whoever gets it, and speaks of metrics, settings, paths and files that there are."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recognizer.core.metrics import METRICS, PROCESS_METRICS
from recognizer.core.settings import PREFIX, SETTINGS

from .e2e.serving import Server

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yml"))
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


def test_compose_mounts_files_that_are_there():
    (compose,) = load(DEPLOY / "docker-compose.yml")
    services = compose["services"]
    build = services["recognizer"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DOCKERFILE)
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name} answers other machines"
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in compose["volumes"]
        assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_setting_that_is_named_exists(path):
    settings = {PREFIX + item.name.upper() for item in SETTINGS}
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
