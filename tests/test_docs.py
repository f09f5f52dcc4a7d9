"""The documentation: links that lead somewhere, scripts that exist, a README that stays short, roles as the code has them."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import re
from pathlib import Path

import pytest

from recognizer.access.dialects import ANYONE
from recognizer.access.route_roles import ROUTES
from recognizer.cli import main as cli
from recognizer.core import errors
from recognizer.core.settings import PREFIX, SETTINGS, secret_file
from recognizer.events.appearances import KINDS
from recognizer.events.home_assistant import Topics

from .e2e.homes import NOTHING_LEFT

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README_LINES = 150


def without_code(text: str) -> str:
    """The text without fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_documentation_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: {target} does not exist"
        assert not anchor or anchor in anchors(linked), f"{page.name}: {target} names no heading of that page"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_and_tests_that_the_documentation_names_exist(page):
    for path in re.findall(r"\b(?:(?:benchmarks|tests)/[\w/]+\.py|findings/[\w-]+\.sh)\b", page.read_text("utf-8")):
        assert (ROOT / path).is_file(), f"{page.name}: {path} does not exist"


def test_every_finding_is_named_where_it_matters():
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert [script.name for script in (ROOT / "findings").glob("*.sh") if f"findings/{script.name}" not in text] == []


#: Errors that no reply has: commands and programs in Python see them.
NOT_OVER_HTTP = {"backup_broken", "engine_mismatch", "exif_tool_missing", "not_empty", "unreadable"}


def test_the_list_of_errors_is_complete():
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.RecognizerError)]
    codes = {kind.code for kind in kinds if not kind.__subclasses__()} | {"conflict"}
    listed = re.findall(r"`(\w+)`", (ROOT / "docs" / "http.md").read_text("utf-8").split("\n## Errors")[1])
    assert codes - set(listed) == NOT_OVER_HTTP


def test_what_an_erasure_counts_is_explained():
    table = (ROOT / "docs" / "http.md").read_text("utf-8").split("| in `left` | what |")[1].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == set(NOTHING_LEFT)


#: Pages that promise something, and end with a table of the tests that hold each promise.
PROMISING = ("reliability.md", "security.md", "privacy.md")


@functools.cache
def functions_of(path: str) -> set[str]:
    """The names of the test functions of a file."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_test_functions_that_the_documentation_names_exist(page):
    for path, name in re.findall(r"\b(tests/[\w/]+\.py)::(\w+)", page.read_text("utf-8")):
        assert name in functions_of(path), f"{page.name}: {path} has no {name}"


@pytest.mark.parametrize("page", PROMISING)
def test_every_promise_names_the_tests_that_hold_it(page):
    _, _, table = (ROOT / "docs" / page).read_text("utf-8").partition("| promise | test |\n| --- | --- |\n")
    rows = table.splitlines()
    assert len(rows) >= 15 and all(re.match(r"\| .+ \| `tests/.+::test_.+` \|$", row) for row in rows), page
    promises = [row.split("|")[1].strip() for row in rows]
    assert len(set(promises)) == len(promises)


def test_the_lists_of_actions_in_the_audit_log_are_complete():
    """That of the documentation, and the words that the page has for them."""
    package = "".join(file.read_text("utf-8") for file in (ROOT / "recognizer").rglob("*.py"))
    noted = set(re.findall(r'\b(?:_?audit|log)\.append\(\s*"([a-z_]+)"', package))
    (listed,) = re.findall(r"^- Actions: (.*?)\. A request", (ROOT / "docs" / "http.md").read_text("utf-8"), re.M | re.S)
    actions = set(re.findall("`([a-z_]+)`", listed))
    assert len(noted) > 30 and noted <= actions
    words = (ROOT / "recognizer" / "web" / "audit.js").read_text("utf-8").split("const ACTIONS = {")[1].split("};")[0]
    assert set(re.findall(r"(\w+): t\(", words)) == actions


def test_the_scripts_behind_the_performance_figures_exist():
    named = set(re.findall(r"`(\w+\.py)\b[^`]*`", (ROOT / "docs" / "performance.md").read_text("utf-8")))
    assert {"pipeline.py", "http.py", "memory.py"} <= named
    assert [name for name in sorted(named) if not (ROOT / "benchmarks" / name).is_file()] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= README_LINES


def test_the_table_of_roles_lists_every_route_under_its_role():
    table = (ROOT / "docs" / "http.md").read_text("utf-8").split("| role | routes |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `?(\w+)`? \| (.+) \|$", table, re.MULTILINE))
    for (method, path), role in ROUTES.items():
        first = "/" + path.split("/")[1]
        listed = rows["none" if role == ANYONE else role]
        in_words = first in {"/people", "/cameras"} and method != "GET"  # as in "`PATCH` and `DELETE` of people"
        assert (first.strip("/") if in_words else first) in listed, (
            f"{method} {path} is for {role}, which docs/http.md does not say"
        )


# -- how-tos: all that they name exists ------------------------------------------------------------------------------

HOWTOS = sorted(path for path in (ROOT / "docs" / "howto").iterdir() if path.suffix in (".md", ".yaml"))


def settings_named(text: str) -> set[str]:
    return set(re.findall(rf"{PREFIX}[A-Z_]+", text))


def routes_named(text: str) -> set[tuple[str | None, str]]:
    """Method, if it is said, and path of every route that a page names, in words or in an address of a server."""
    said = re.findall(r"\b(GET|POST|PATCH|PUT|DELETE) (/[^\s`'\"?,]*)", text)
    addresses = re.findall(r"(?:127\.0\.0\.1|192\.168\.1\.7|SERVER):8000(/[^\s`'\"?]*)", text)
    addresses += re.findall(r"faces\.example\.org(/[^\s`'\"?)]*)", text)
    quoted = re.findall(r"base ?[+.] ?\"(/\w+)\"", text)
    return {*said, *((None, path) for path in (*addresses, *quoted))}


def is_route(method: str | None, path: str) -> bool:
    patterns = ((verb, re.sub(r"\{\w+\}", "[^/]+", template)) for verb, template in ROUTES)
    return any(re.fullmatch(pattern, path) and method in (None, verb) for verb, pattern in patterns)


def topics_named(text: str) -> set[str]:
    return set(re.findall(r"\brecognizer/(?:cameras|people|status)\b[\w/+<>-]*", text))


def is_topic(topic: str) -> bool:
    topics = Topics("recognizer", "homeassistant")
    cameras = {topics.camera("ID", leaf) for leaf in ("event", "state", "last", "picture")}
    known = {topics.status, topics.person("ID"), *cameras}
    return re.sub(r"(cameras|people)/[^/]+", r"\1/ID", topic) in known


def commands_named(text: str) -> set[str]:
    """The words after `recognizer` in commands, of which the first is one, and the second too if the first is a group."""
    return set(re.findall(r"(?:^|`|/bin/|-u \w+ )recognizer ((?:[a-z]+[-a-z]*)(?: [a-z-]+)?)", text, re.MULTILINE))


def is_command(words: str) -> bool:
    first, _, second = words.partition(" ")
    command = cli.commands.get(first)
    return command is not None and (not second or not hasattr(command, "commands") or second in command.commands)


@pytest.mark.parametrize("page", HOWTOS, ids=lambda page: page.name)
def test_settings_routes_topics_and_commands_of_how_tos_exist(page):
    text = page.read_text("utf-8")
    assert settings_named(text) <= {name for item in SETTINGS for name in (PREFIX + item.name.upper(), secret_file(item.name))}
    assert not {(method, path) for method, path in routes_named(text) if not is_route(method, path)}
    assert not {topic for topic in topics_named(text) if not is_topic(topic)}
    assert not {words for words in commands_named(text) if not is_command(words)}


def test_what_this_test_looks_for_is_found():
    text = "".join(page.read_text("utf-8") for page in HOWTOS)
    assert {"RECOGNIZER_MQTT_URL", "RECOGNIZER_TRUSTED_PROXIES"} <= settings_named(text)
    assert {("POST", "/recognize"), (None, "/presence"), (None, "/recognize")} <= routes_named(text)
    assert "recognizer/cameras/+/event" in topics_named(text)
    assert {"archive add", "keys add", "doctor"} <= commands_named(text)
    assert not is_route("POST", "/people") and not is_route("GET", "/nothing") and is_route("GET", "/people/Ada")
    assert not is_topic("recognizer/cameras/+/name") and not is_command("archive burn") and not is_command("burn")


def test_every_how_to_is_in_the_list_of_them():
    listed = (ROOT / "docs" / "howto" / "index.md").read_text("utf-8")
    assert not [
        page.name for page in HOWTOS if page.suffix == ".md" and page.name != "index.md" and f"]({page.name})" not in listed
    ]


def test_the_blueprint_of_the_doorbell_fits_the_events():
    yaml = pytest.importorskip("yaml")

    class Loader(yaml.SafeLoader):
        """Home Assistant's, as far as the tag for inputs goes."""

    Loader.add_constructor("!input", lambda loader, node: ("input", node.value))
    blueprint = yaml.load((ROOT / "docs" / "howto" / "doorbell-blueprint.yaml").read_text("utf-8"), Loader)
    inputs = blueprint["blueprint"]["input"]
    used = set(re.findall(r"\('input', '(\w+)'\)", str({key: value for key, value in blueprint.items() if key != "blueprint"})))
    assert used == set(inputs)
    options = [option["value"] for option in inputs["kinds"]["selector"]["select"]["options"]]
    assert options == inputs["kinds"]["default"] and set(options) <= set(KINDS)
    assert inputs["topic"]["default"] == Topics("recognizer", "homeassistant").camera("front-door", "event")


def news_of(kind: str, subject: str | None, late: bool = False, **more) -> dict:
    return {"kind": kind, "subject": subject, "late": late, "camera": "door", **more}


PORCH = {"zones": ["Porch"]}


@pytest.mark.parametrize(
    ("news", "people", "zones", "passes"),
    [
        (news_of("appeared", "Ada"), [], [], True),
        (news_of("appeared", "Ada", late=True), [], [], False),
        (news_of("left", "Ada"), [], [], False),
        (news_of("appeared", "Ada"), ["Joe"], [], False),
        (news_of("appeared", "Joe"), ["Joe"], [], True),
        (news_of("unknown", None), ["Joe"], [], True),
        (news_of("entered", "Ada", **PORCH), [], [], False),  # who was there before
        (news_of("entered", "Ada", **PORCH), [], ["porch", "Gate"], True),
        (news_of("entered", "Ada", **PORCH), ["Joe"], ["porch"], False),
        (news_of("entered", None, **PORCH), ["Joe"], ["porch"], True),
        (news_of("entered", "Ada", **PORCH), [], ["gate"], False),
        (news_of("entered", "Ada", late=True, **PORCH), [], ["porch"], False),
        (news_of("appeared", "Ada", zones=["Path", "Porch"]), [], ["porch"], True),
        (news_of("appeared", "Ada", zones=["Path"]), [], ["porch"], False),
        (news_of("appeared", "Ada"), [], ["porch"], False),
        (news_of("left", "Ada", **PORCH), [], ["porch"], False),
    ],
)
def test_the_blueprint_lets_through_what_it_says(news, people, zones, passes):
    jinja2 = pytest.importorskip("jinja2")
    text = (ROOT / "docs" / "howto" / "doorbell-blueprint.yaml").read_text("utf-8")
    (condition,) = re.findall(r"value_template: >\n((?: {6}.*\n)+)", text)
    given = {"trigger": {"payload_json": news}, "kinds": ["appeared", "unknown"], "people": people, "zones": zones}
    assert jinja2.Template(condition).render(given).strip() == str(passes)
    only_known = jinja2.Template(condition).render({**given, "kinds": ["appeared"]}).strip()
    assert only_known == str(passes and news["subject"] is not None)
    (zone,) = re.findall(r'  zone: "(.*)"', text)
    assert jinja2.Template(zone).render(given) == ", ".join(news.get("zones", []))


def test_the_flow_for_node_red_is_connected():
    (flow,) = re.findall(r"^```json\n(.*?)^```$", (ROOT / "docs" / "howto" / "node-red.md").read_text("utf-8"), re.M | re.S)
    nodes = {node["id"]: node for node in json.loads(flow)}
    for node in nodes.values():
        assert {to for wire in node.get("wires", ()) for to in wire} <= set(nodes)
        assert len(node.get("wires", ())) == node.get("outputs", len(node.get("wires", ())))
    (listening,) = (node for node in nodes.values() if node["type"] == "mqtt in")
    assert nodes[listening["broker"]]["type"] == "mqtt-broker" and is_topic(listening["topic"])
    (kinds,) = (node for node in nodes.values() if node["id"] == "faces-kind")
    assert {rule["v"] for rule in kinds["rules"]} <= set(KINDS)
