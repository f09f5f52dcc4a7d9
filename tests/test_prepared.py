"""Networks that are converted once and stored beside the weights."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

from recognizer.engines.prepared import FOLDER, Origin, prepared

pytestmark = pytest.mark.file_times  # what was not used for long is deleted


@pytest.fixture
def origin(tmp_path):
    return Origin(tmp_path, "0" * 64)


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("x = 1")
    return str(path)


class Maker:
    """Makes the network that it is given, and counts."""

    def __init__(self, network: bytes = b"a network"):
        self.network, self.calls = network, 0

    def __call__(self) -> bytes:
        self.calls += 1
        return self.network


def test_a_network_is_made_once(origin, module):
    make = Maker()
    assert [prepared("net", origin, [module], make) for _ in range(3)] == [b"a network"] * 3
    assert make.calls == 1
    (file,) = (origin.folder / FOLDER).iterdir()
    assert file.name.startswith("net-") and file.name.endswith(f"-{hashlib.sha256(b'a network').hexdigest()}.onnx")


def test_without_an_origin_nothing_is_stored(module, tmp_path):
    make = Maker()
    assert prepared("net", None, [module], make) == prepared("net", None, [module], make) == b"a network"
    assert make.calls == 2 and not (tmp_path / FOLDER).exists()


def test_other_weights_and_other_code_lead_to_another_network(origin, module):
    prepared("net", origin, [module], Maker(b"one"))
    assert prepared("net", Origin(origin.folder, "1" * 64), [module], Maker(b"two")) == b"two"
    with open(module, "a") as file:
        file.write("\ny = 2")
    assert prepared("net", origin, [module], Maker(b"three")) == b"three"
    assert prepared("other", origin, [module], Maker(b"four")) == b"four"


@pytest.mark.parametrize("damage", [b"", b"a netwerk", b"a network, longer"])
def test_a_damaged_file_is_made_again(origin, module, damage):
    prepared("net", origin, [module], Maker())
    (file,) = (origin.folder / FOLDER).iterdir()
    file.write_bytes(damage)
    make = Maker()
    assert prepared("net", origin, [module], make) == b"a network" and make.calls == 1
    assert file.read_bytes() == b"a network"


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path, module):
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    make, origin = Maker(), Origin(tmp_path, "0" * 64)
    assert prepared("net", origin, [module], make) == prepared("net", origin, [module], make) == b"a network"
    assert make.calls == 2


def test_what_no_version_reads_any_more_is_deleted(origin, module):
    prepared("net", origin, [module], Maker(b"old"))
    prepared("other", origin, [module], Maker(b"of another network"))
    for file in (origin.folder / FOLDER).iterdir():
        os.utime(file, (time.time() - 40 * 86400,) * 2)
    prepared("net", Origin(origin.folder, "1" * 64), [module], Maker(b"new"))
    assert sorted(file.read_bytes() for file in (origin.folder / FOLDER).iterdir()) == [b"new", b"of another network"]


def test_a_network_that_is_read_counts_as_used(origin, module):
    prepared("net", origin, [module], Maker(b"old"))
    (file,) = (origin.folder / FOLDER).iterdir()
    os.utime(file, (time.time() - 40 * 86400,) * 2)
    prepared("net", origin, [module], Maker(b"old"))
    assert time.time() - file.stat().st_mtime < 60


@pytest.mark.slow
def test_the_engine_that_reads_stored_networks_gives_the_same_embeddings(models_dir, tmp_path, photos):
    import numpy as np

    from recognizer.engines import make_engine
    from recognizer.photos import images

    folder = tmp_path / "models"
    folder.mkdir()
    for file in models_dir.iterdir():
        if file.is_file():
            os.symlink(file, folder / file.name)
    image = images.decode(photos["obama.jpg"].read_bytes())
    vectors = []
    for _ in range(2):
        engine = make_engine(models_dir=folder)
        vectors.append(engine.describe(image, engine.find(image)))
    names = {file.name.partition("-")[0] for file in (folder / FOLDER).iterdir()}
    assert names == {"yunet", "sface", "dlib_resnet"}
    assert len(vectors[0]) == 1 and np.array_equal(*vectors)
