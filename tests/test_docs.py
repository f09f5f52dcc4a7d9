"""The documentation: links that lead somewhere, scripts that exist, a README that stays short, roles as the code has them."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from recognizer.access import gate as auth

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
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
    for path in re.findall(r"\b(?:benchmarks|tests)/[\w/]+\.py\b", page.read_text("utf-8")):
        assert (ROOT / path).is_file(), f"{page.name}: {path} does not exist"


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


def test_the_scripts_behind_the_performance_figures_exist():
    named = set(re.findall(r"`(\w+\.py)\b[^`]*`", (ROOT / "docs" / "performance.md").read_text("utf-8")))
    assert {"pipeline.py", "http.py", "memory.py"} <= named
    assert [name for name in sorted(named) if not (ROOT / "benchmarks" / name).is_file()] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= README_LINES


def test_the_table_of_roles_lists_every_route_under_its_role():
    table = (ROOT / "docs" / "http.md").read_text("utf-8").split("| role | routes |")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `?(\w+)`? \| (.+) \|$", table, re.MULTILINE))
    for (method, path), role in auth.ROUTES.items():
        first = "/" + path.split("/")[1]
        listed = rows["none" if role == auth.ANYONE else role]
        in_words = first in {"/people", "/cameras"} and method != "GET"  # as in "`PATCH` and `DELETE` of people"
        assert (first.strip("/") if in_words else first) in listed, (
            f"{method} {path} is for {role}, which docs/http.md does not say"
        )
