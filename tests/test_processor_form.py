"""Networks as they are optimised for the processor, stored beside the weights."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from recognizer.core.files import PART
from recognizer.engines import onnxfile, processor_form
from recognizer.engines.prepared import FOLDER, Origin
from recognizer.engines.runtime import NetworkSession

pytestmark = pytest.mark.file_times  # what was not used for long is deleted

PICTURE = np.random.default_rng(1).normal(size=(1, 16, 12, 12)).astype(np.float32)
INTEL = "processor : 0\nvendor_id : GenuineIntel\nmodel : 85\ncpu MHz : {}\nflags : sse avx2 avx512f\n"


def network(factor: float = 1.0) -> bytes:
    """A convolution with so many weights that they have a file of their own."""
    graph = onnxfile.GraphBuilder("net")
    weights = (factor * np.random.default_rng(2).normal(size=(32, 16, 3, 3))).astype(np.float32)
    given = graph.input("pixels", onnxfile.FLOAT, ("n", 16, "height", "width"))
    graph.node("Relu", [graph.node("Conv", [given, graph.constant(weights)], kernel_shape=(3, 3))], "found")
    graph.output("found", onnxfile.FLOAT, ("n", 32, "rows", "columns"))
    return graph.to_bytes()


class Loader:
    """Loads a network from a folder, and counts how often it was converted."""

    def __init__(self, folder, factor: float = 1.0):
        self.origin, self.factor, self.made = Origin(folder, f"{factor:064}"), factor, 0

    def _make(self) -> bytes:
        self.made += 1
        return network(self.factor)

    def load(self, provider: str = "cpu") -> np.ndarray:
        return processor_form.load_network("net", self.origin, [__file__], self._make, 1, provider).infer(PICTURE)[0]


@pytest.fixture(autouse=True)
def processor(tmp_path, monkeypatch):
    """The file that says what the processor can do."""
    file = tmp_path / "cpuinfo"
    file.write_text(INTEL.format(2400))
    monkeypatch.setattr(processor_form, "_CPUINFO", file)
    processor_form._instructions.cache_clear()
    return file


@pytest.fixture
def loader(tmp_path):
    return Loader(tmp_path / "models")


def forms(loader: Loader) -> list:
    return sorted((loader.origin.folder / FOLDER).glob("*.form"))


def test_the_form_gives_the_same_to_the_bit_and_is_made_once(loader):
    expected = NetworkSession(network()).infer(PICTURE)[0]
    assert np.array_equal(loader.load(), expected)
    (form,) = forms(loader)
    assert sorted(os.listdir(form)) == ["graph.onnx", "weights.bin"]
    for file in form.parent.glob("net-*.onnx"):
        file.unlink()  # the network itself is not needed any longer
    assert np.array_equal(loader.load(), expected) and loader.made == 1
    assert forms(loader) == [form]


@pytest.mark.parametrize("name", ["graph.onnx", "weights.bin"])
@pytest.mark.parametrize("damage", ["changed", "shorter", "gone"])
def test_a_damaged_form_is_made_again(loader, name, damage):
    expected = loader.load()
    (form,) = forms(loader)
    data = (form / name).read_bytes()
    if damage == "gone":
        (form / name).unlink()
    else:
        (form / name).write_bytes(data[:-1] if damage == "shorter" else data[:-1] + bytes([data[-1] ^ 1]))
    assert np.array_equal(loader.load(), expected)
    (again,) = forms(loader)
    assert (again / name).read_bytes() == data


def test_a_form_that_the_runtime_refuses_is_not_used(loader):
    expected = loader.load()
    (form,) = forms(loader)
    (form / "graph.onnx").write_bytes(b"not a graph")
    beginning = form.name.rsplit("-", 1)[0]
    form.rename(form.parent / f"{beginning}-{processor_form._hash(form)}.form")
    assert np.array_equal(loader.load(), expected)
    assert [each.name for each in forms(loader)] == [form.name]


def test_other_processors_and_other_weights_have_their_own_form(loader, processor):
    loader.load()
    first = forms(loader)
    processor.write_text(INTEL.format(1200))  # the same one, at another speed
    processor_form._instructions.cache_clear()
    loader.load()
    assert forms(loader) == first
    processor.write_text(INTEL.format(2400).replace(" avx512f", ""))
    processor_form._instructions.cache_clear()
    loader.load()
    assert len(forms(loader)) == 2 and loader.made == 1
    other = Loader(loader.origin.folder, factor=2.0)
    assert np.array_equal(other.load(), NetworkSession(network(2.0)).infer(PICTURE)[0])
    assert len(forms(loader)) == 3


@pytest.mark.parametrize("text", [None, "processor : 0\n"])
def test_nothing_is_stored_for_a_processor_that_is_not_known(loader, processor, text):
    processor.unlink() if text is None else processor.write_text(text)
    processor_form._instructions.cache_clear()
    loader.load()
    assert not forms(loader)


def test_other_providers_have_no_form(loader):
    loader.load(provider="cpu-int8")
    assert not forms(loader)


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    loader = Loader(tmp_path)
    assert np.array_equal(loader.load(), loader.load()) and loader.made == 2


def test_a_form_that_cannot_be_written_leaves_nothing(loader, monkeypatch):
    def full(network, graph, weights):
        graph.write_bytes(b"a part")
        raise OSError("no space left on device")

    monkeypatch.setattr(processor_form, "write_optimised", full)
    assert loader.load().shape == (1, 32, 10, 10)
    assert [file.suffix for file in (loader.origin.folder / FOLDER).iterdir()] == [".onnx"]


def test_what_nobody_reads_any_more_is_deleted(loader, processor):
    loader.load()
    (old,) = forms(loader)
    left = old.parent / f"{PART}left"
    left.mkdir()
    for place in (old, left):
        os.utime(place, (time.time() - 40 * 86400,) * 2)
    processor.write_text(INTEL.format(2400).replace(" avx512f", ""))
    processor_form._instructions.cache_clear()
    loader.load()
    assert old not in forms(loader) and len(forms(loader)) == 1 and not left.exists()


def test_a_form_that_is_read_counts_as_used(loader):
    loader.load()
    (form,) = forms(loader)
    os.utime(form, (time.time() - 40 * 86400,) * 2)
    loader.load()
    assert time.time() - form.stat().st_mtime < 60


@pytest.mark.slow
def test_the_default_engines_networks_give_the_same_to_the_bit(models_dir, monkeypatch):
    from recognizer.engines.dlib.onnx import ResNet, drawn_face
    from recognizer.engines.sface_ort import SFaceNet
    from recognizer.engines.yunet_ort import YuNet
    from recognizer.weights import manifest

    def load():
        origin = lambda key: Origin(models_dir, manifest.MANIFEST[key].sha256)  # noqa: E731
        return (
            ResNet(folder=models_dir).describe(drawn_face(150)[None].repeat(3, axis=0)),
            SFaceNet(manifest.path("sface", models_dir), origin=origin("sface")).describe(
                drawn_face(112)[None].repeat(3, axis=0)
            ),
            YuNet(manifest.path("yunet", models_dir), score=0.1, origin=origin("yunet")).raw(drawn_face(320)),
        )

    monkeypatch.setattr(processor_form, "_CPUINFO", Path("/proc/cpuinfo"))
    stored = load()
    monkeypatch.setattr(processor_form, "_CPUINFO", models_dir / "no such file")
    for one, other in zip(stored, load(), strict=True):
        assert np.array_equal(one, other)
