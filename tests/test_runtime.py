"""Sessions over the inference runtimes, on a graph of two nodes."""

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from recognizer.core.errors import ModelCorrupt, ModelError, ModelMissing
from recognizer.engines import onnxfile
from recognizer.engines.runtime import NetworkSession


def twice_plus_one() -> bytes:
    graph = onnxfile.GraphBuilder("twice_plus_one")
    x = graph.input("x", onnxfile.FLOAT, ("n", 3))
    doubled = graph.node("Mul", [x, graph.constant(np.float32([2]))], "doubled")
    graph.node("Add", [doubled, graph.constant(np.float32([1]))], "more")
    graph.output("doubled", onnxfile.FLOAT, ("n", 3))
    graph.output("more", onnxfile.FLOAT, ("n", 3))
    return graph.to_bytes()


def test_runs_bytes_and_files(tmp_path):
    (tmp_path / "model.onnx").write_bytes(twice_plus_one())
    for model in (twice_plus_one(), tmp_path / "model.onnx", str(tmp_path / "model.onnx")):
        session = NetworkSession(model)
        doubled, more = session.infer(np.ones((2, 3), np.float32))
        assert session.inputs == ("x",) and session.outputs == ("doubled", "more")
        assert (doubled == 2).all() and (more == 3).all() and more.shape == (2, 3)


def test_a_models_bytes_are_not_kept():
    """They would take as much memory as the weights, once more."""
    model = twice_plus_one()
    before = sys.getrefcount(model)
    session = NetworkSession(model)
    assert sys.getrefcount(model) == before
    assert (session.infer(np.ones((2, 3), np.float32))[0] == 2).all()


def test_takes_inputs_by_name():
    assert (NetworkSession(twice_plus_one()).infer({"x": np.zeros((0, 3), np.float32)})[0].shape) == (0, 3)


def test_is_safe_to_share_between_threads():
    session, wrong = NetworkSession(twice_plus_one(), threads=2), []

    def work(number):
        for _ in range(50):
            answer = session.infer(np.full((number + 1, 3), number, np.float32))[1]
            if answer.shape != (number + 1, 3) or not (answer == 2 * number + 1).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(sys.platform == "win32", reason="it leaves files on other systems")
def test_the_runtime_leaves_no_id_of_the_machine_and_nothing_to_be_sent(tmp_path):
    """From 1.29 on it notes both below the home folder, and what it calls a session among the temporary files."""
    quiet = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "ORT_RUNNING_UNIT_TESTS")
    environment = {name: value for name, value in os.environ.items() if name not in quiet and not name.startswith("XDG_")}
    (tmp_path / "model.onnx").write_bytes(twice_plus_one())
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    program = "import sys; from recognizer.engines.runtime import NetworkSession; print(NetworkSession(sys.argv[1]).outputs)"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, str(tmp_path / "model.onnx")],
        cwd=Path(__file__).parent.parent,
        check=True,
        env={**environment, "HOME": str(home), "TMPDIR": str(home / "tmp")},
        stdout=subprocess.PIPE,
        timeout=60,
    )
    assert b"doubled" in done.stdout
    assert [file for file in home.rglob("*") if file.is_file()] == []


def test_other_providers_are_refused_by_name():
    with pytest.raises(ModelError, match="expected a provider of cpu"):
        NetworkSession(twice_plus_one(), provider="abacus")


def test_a_provider_that_is_not_installed_is_named():
    import onnxruntime

    absent = {"cuda": "CUDA", "coreml": "CoreML", "directml": "Dml"}
    for name, start in absent.items():
        if f"{start}ExecutionProvider" not in onnxruntime.get_available_providers():
            with pytest.raises(ModelError, match=name):
                NetworkSession(twice_plus_one(), provider=name)


def test_openvino_runs_or_is_named(monkeypatch):
    pytest.importorskip("openvino")
    answer = NetworkSession(twice_plus_one(), provider="openvino").infer(np.ones((2, 3), np.float32))[1]
    assert (answer == 3).all()


def test_openvino_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError, match="openvino package"):
        NetworkSession(twice_plus_one(), provider="openvino")


@pytest.mark.parametrize("model", [b"", b"not a model", twice_plus_one()[:60]])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(ModelCorrupt):
        NetworkSession(model)


def test_a_missing_file_is_named_without_its_folder(tmp_path):
    for load in (NetworkSession, onnxfile.read_file):
        with pytest.raises(ModelMissing, match="expected the model missing.onnx") as caught:
            load(tmp_path / "missing.onnx")
        assert str(tmp_path) not in caught.value.message


TRIMMED = """
import ctypes
import os
from pathlib import Path
from recognizer.engines.runtime import release_memory

def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

blocks = [bytearray(20_000) for _ in range(10_000)]  # too small for pages of their own
last = blocks[-1]  # keeps the heap from shrinking by itself
del blocks
before = resident()
release_memory()
print(before - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_unused_memory_is_given_back():
    done = subprocess.run([sys.executable, "-c", TRIMMED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100_000_000


def test_a_session_needs_a_thread():
    with pytest.raises(ValueError, match="at least one thread"):
        NetworkSession(twice_plus_one(), threads=0)


class TestOnnxFile:
    def test_what_is_written_is_read_again(self):
        data = twice_plus_one()
        model = onnxfile.parse(data)
        assert [node.op_type for node in model.graph.node] == ["Mul", "Add"]
        assert onnxfile.to_array(model.graph.initializer[0]).tolist() == [2.0]
        assert onnxfile.to_bytes(model) == data

    def test_fields_that_are_not_named_are_kept(self):
        extra = b"\x82\x7f\x03abc"  # a field 2032 that no schema knows
        assert onnxfile.to_bytes(onnxfile.parse(twice_plus_one() + extra)).endswith(extra)

    def test_values_are_changed_in_place(self):
        model = onnxfile.parse(twice_plus_one())
        onnxfile.set_array(model.graph.initializer[0], np.float32([5]))
        onnxfile.set_shape(model.graph.input[0], ("n", "m"))
        answer = NetworkSession(onnxfile.to_bytes(model)).infer(np.ones((1, 7), np.float32))[0]
        assert answer.shape == (1, 7) and (answer == 5).all()

    @pytest.mark.parametrize("data", [b"", b"\xff\xff\xff", b"plain words"])
    def test_what_is_no_model_is_refused(self, data):
        with pytest.raises(ModelCorrupt):
            onnxfile.parse(data)

    def test_arrays_of_another_size_are_refused(self):
        model = onnxfile.parse(twice_plus_one())
        model.graph.initializer[0].dims[0] = 3
        with pytest.raises(ModelCorrupt, match="shape"):
            onnxfile.to_array(model.graph.initializer[0])
