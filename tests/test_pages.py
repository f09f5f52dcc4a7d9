"""The page's files as replies: types, compression, ETags, versions, and what they weigh."""

from __future__ import annotations

import gzip
import io
import json
import re
from urllib.parse import urljoin

import pytest
from PIL import Image

from recognizer.core.errors import ModelMissing, UnknownRoute
from recognizer.http.pages import FOLDER, POLICY, TYPES, Pages, accepts_gzip, matches, wants_page

#: All of the page that browsers load, compressed, with one of its languages.
BUDGET = 250_000
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


@pytest.fixture(scope="module")
def pages() -> Pages:
    return Pages()


def test_every_file_of_the_folder_is_served_with_its_type(pages):
    names = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert names == set(pages.files), "a file of a kind that is not in TYPES"
    for name in names - {"index.html", "docs.html"}:
        reply = pages.asset(pages.version, name, {})
        assert reply.status == 200 and reply.headers["Content-Type"] == TYPES[name[name.rindex(".") :]]
        assert reply.body == (FOLDER / name).read_bytes().replace(b"@version@", pages.version.encode())


def test_the_page_weighs_little(pages):
    sent = {name: len(file.packed or file.plain) for name, file in pages.files.items()}
    languages = [sent.pop(name) for name in list(sent) if name.endswith(".json")]
    assert sum(sent.values()) + max(languages, default=0) < BUDGET, sent


def test_nothing_comes_from_outside_and_nothing_is_inline(pages):
    for name, file in pages.files.items():
        if name.endswith(".png"):
            continue
        text = file.plain.decode()
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {
            "http://www.w3.org/2000/svg",
            "https://example.org/photo.jpg",
        }
        assert not addresses, f"{name} names {addresses}"
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text), name
            named = re.findall(rf"\"web/{pages.version}/([\w.-]+)", text)
            assert named and set(named) <= {*pages.files, "swagger-ui.js", "swagger-ui.css"}
        if name.endswith(".js"):
            takes_html = r"\.(innerHTML|outerHTML|insertAdjacentHTML)|document\.write|\beval\(|new Function"
            assert not re.search(takes_html, text), name


def test_every_module_and_icon_that_is_named_is_there(pages):
    icons = set(re.findall(r"^  (\w+):", pages.files["icons.js"].plain.decode(), re.MULTILINE))
    for name, file in pages.files.items():
        if name.endswith(".js"):
            text = file.plain.decode()
            assert set(re.findall(r'(?:from |import\()"\./([\w.-]+)"', text)) <= set(pages.files), name
            assert set(re.findall(r'\bicon(?:\(|: )"(\w+)"', text)) <= icons, name


def test_the_manifest_leads_to_the_page_and_names_icons_of_their_sizes(pages):
    manifest = json.loads(pages.files["manifest.webmanifest"].plain)
    base = f"https://example.org/faces/web/{pages.version}/manifest.webmanifest"
    assert urljoin(base, manifest["start_url"]) == urljoin(base, manifest["scope"]) == "https://example.org/faces/"
    views = re.findall(r'name: "(\w+)"', pages.files["app.js"].plain.decode())
    assert {each["url"].split("/")[3] for each in manifest["shortcuts"]} <= set(views)
    for icon in manifest["icons"]:
        data = pages.files[icon["src"]].plain
        assert icon["type"] == TYPES[icon["src"][icon["src"].rindex(".") :]]
        if icon["sizes"] != "any":
            assert "x".join(map(str, Image.open(io.BytesIO(data)).size)) == icon["sizes"]


def test_the_worker_may_answer_for_the_page_and_ask_this_server_only(pages):
    worker = pages.asset(pages.version, "service-worker.js", {})
    base = f"https://example.org/faces/web/{pages.version}/service-worker.js"
    assert urljoin(base, worker.headers["Service-Worker-Allowed"]) == "https://example.org/faces/"
    assert worker.headers["Content-Security-Policy"] == "default-src 'none'; connect-src 'self'"
    assert f"{pages.version}`".encode() in worker.body and b"@version@" not in worker.body
    assert "Service-Worker-Allowed" not in pages.asset(pages.version, "app.js", {}).headers


def test_compressed_for_who_can_read_it(pages):
    plain, packed = pages.asset(pages.version, "app.js", {}), pages.asset(pages.version, "app.js", GZIP)
    assert "Content-Encoding" not in plain.headers and packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body) / 2
    assert plain.headers["ETag"] != packed.headers["ETag"]
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", False),
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("gzip ; q=1.0", True),
        ("gzipped", False),
    ],
)
def test_accept_encoding(header, wanted):
    assert accepts_gzip(header) is wanted


@pytest.mark.parametrize(
    ("header", "wanted"),
    [('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ("", False), ('"b"', False), ("a", False)],
)
def test_if_none_match(header, wanted):
    assert matches(header, '"a"') is wanted


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("Text/HTML ; q=0.9", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/plain, */*", False),
    ],
)
def test_only_browsers_get_the_page(accept, wanted):
    assert wants_page(accept) is wanted


def test_what_has_not_changed_is_not_sent_again(pages):
    for first in (pages.page("index.html", GZIP), pages.asset(pages.version, "app.css", GZIP)):
        assert first.status == 200 and first.body
    again = pages.page("index.html", {**GZIP, "If-None-Match": pages.page("index.html", GZIP).headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["Content-Security-Policy"] == POLICY and "Content-Encoding" not in again.headers


def test_pages_are_asked_for_anew_and_their_parts_kept(pages):
    assert pages.page("index.html", {}).headers["Cache-Control"] == "no-cache"
    assert "immutable" in pages.asset(pages.version, "app.js", {}).headers["Cache-Control"]


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "docs.html", "../pages.py", "", "app.js/", "..", "APP.JS"])
def test_there_is_nothing_else(pages, name):
    with pytest.raises(UnknownRoute):
        pages.asset(pages.version, name, {})


def test_another_version_has_other_addresses(pages, tmp_path):
    with pytest.raises(UnknownRoute, match="load the page again"):
        pages.asset("0" * 12, "app.js", {})
    (tmp_path / "index.html").write_text('<script src="/web/@version@/a.js"></script>')
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "notes.txt").write_text("not served")
    before = Pages(tmp_path)
    (tmp_path / "a.js").write_text("2")
    after = Pages(tmp_path)
    assert before.version != after.version and set(after.files) == {"index.html", "a.js"}
    assert after.version.encode() in after.page("index.html", {}).body


def test_a_file_kept_elsewhere_is_asked_for_until_it_is_there(tmp_path):
    there = tmp_path / "elsewhere.css"

    def find():
        if not there.exists():
            raise ModelMissing("not yet")
        return there

    pages = Pages(others={"more.css": find})
    with pytest.raises(ModelMissing):
        pages.asset(pages.version, "more.css", {})
    there.write_text("a { color: red }")
    reply = pages.asset(pages.version, "more.css", {})
    assert reply.body == there.read_bytes() and reply.headers["Cache-Control"] == "no-cache"
