"""One interface to the inference runtimes.

ONNX Runtime on the processor is always available. The others are chosen by name, and imported only then.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recognizer.core.errors import ModelCorrupt, ModelError, ModelMissing

#: provider name -> ONNX Runtime's execution provider
_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cpu-int8": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
PROVIDERS = (*_PROVIDERS, "openvino", "openvino-bf16")
#: The provider for 8-bit networks (see `dlib.int8`); a network that was not quantised runs in full precision on it.
INT8 = "cpu-int8"
#: Providers that compute in full precision, so that their results can be compared with a reference.
EXACT = ("cpu", "openvino")
#: The package that each provider needs; the first three replace onnxruntime.
_PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "directml": "onnxruntime-directml",
    "coreml": "onnxruntime (on a Mac)",
    "openvino": "openvino",
    "openvino-bf16": "openvino",
}


def _import_onnxruntime() -> Any:
    """Import `onnxruntime`, after setting environment variables that it and OpenCV read once.

    - ``ORT_DISABLE_TELEMETRY``: since 1.29, ONNX Runtime sends usage data to its developers unless this is set.
    - ``OPENCV_THREAD_POOL_ACTIVE_WAIT_*``: OpenCV's threads would spin after each small job, on cores that other work needs.
      Without spinning the object detector takes 31 ms instead of 40 on two cores, and 47 ms of processor time instead of 72.

    Variables that are set already are not changed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    for name in ("OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN", "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER"):
        os.environ.setdefault(name, "0")
    import onnxruntime

    return onnxruntime


def version() -> str:
    """The version of ONNX Runtime."""
    return str(_import_onnxruntime().__version__)


def require_provider(provider: str) -> None:
    """Check that `provider` exists and that its package is installed.

    Raises
    ------
    ModelError
    """
    if provider not in PROVIDERS:
        raise ModelError(f"expected a provider of {', '.join(PROVIDERS)}, got {provider!r}")
    package = _PACKAGES.get(provider)
    if package == "openvino":
        if importlib.util.find_spec("openvino") is None:
            raise ModelError(f"the provider {provider} needs the openvino package: pip install openvino")
    elif provider in _PROVIDERS:
        onnxruntime = _import_onnxruntime()

        if _PROVIDERS[provider] not in onnxruntime.get_available_providers():
            raise ModelError(f"the provider {provider} is not part of the installed onnxruntime: it needs {package}")


class NetworkSession:
    """A loaded network. Thread-safe; `infer` releases Python's lock while it computes.

    Parameters
    ----------
    model : str, Path or bytes
        An ONNX file, or its bytes.
    threads : int
        Number of threads for one `infer`. One is best where several photos are processed in parallel.
    provider : str
        One of `PROVIDERS`.
    optimised : bool
        Whether the file is one of `write_optimised`, made on a processor with the same instructions.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Names, in the model's order.

    Raises
    ------
    ModelError
        There is no such provider, or it is not installed.
    ModelMissing
        The file does not exist.
    ModelCorrupt
        The bytes are not a usable model.
    """

    def __init__(self, model: str | Path | bytes, threads: int = 1, provider: str = "cpu", *, optimised: bool = False):
        require_provider(provider)
        if threads < 1:
            raise ValueError(f"expected at least one thread, got {threads}")
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise ModelMissing(f"expected the model {Path(model).name}, the file is not there")
        backend: type[_Backend] = _OpenVino if provider.startswith("openvino") else _OnnxRuntime
        self._backend = backend(model if isinstance(model, bytes) else str(model), threads, provider, optimised)
        self.inputs, self.outputs = self._backend.inputs, self._backend.outputs

    def infer(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run the network on its inputs by name, or on its only input; return its outputs in the model's order."""
        if isinstance(inputs, np.ndarray):
            inputs = {self.inputs[0]: inputs}
        return self._backend.infer(inputs)


class _Backend(Protocol):
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __init__(self, model: str | bytes, threads: int, provider: str, optimised: bool): ...

    def infer(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]: ...


@cache
def _one_arena() -> bool:
    """Let all networks on the processor share one memory arena, if this onnxruntime supports it; return whether it does.

    Separate arenas would each grow to their own peak. Measured with the default engine: 276 MB resident in total instead of
    288, and growth by 1 % after thousands of photos instead of 3 %.
    """
    onnxruntime = _import_onnxruntime()
    try:
        memory = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        # zeros and minus ones are onnxruntime's defaults; the arena grows by the size that is requested
        arena = {"max_mem": 0, "arena_extend_strategy": 1, "initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
        onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(arena))
    except Exception:  # onnxruntime's exceptions share no other base; separate arenas work too
        return False
    return True


def _session_options(threads: int, provider: str) -> Any:
    options = _import_onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only: errors are raised as exceptions anyway
    # spinning threads would occupy cores that other work needs
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # sizes vary from call to call, so a memory plan for one size is useless for the next; the arena stays enabled, since
    # the C library's per-thread heaps are slower and larger
    options.enable_mem_pattern = False
    if provider == "cpu" and _one_arena():
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def _load(model: str | bytes, options: Any, name: str) -> Any:
    """ONNX Runtime's session with the execution provider `name`.

    Raises
    ------
    ModelCorrupt
    """
    onnxruntime = _import_onnxruntime()
    if sys.platform == "win32":  # elsewhere the environment variable has disabled it
        onnxruntime.disable_telemetry_events()
    try:
        return onnxruntime.InferenceSession(model, options, providers=[name])
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no other base
        raise ModelCorrupt(f"the model cannot be loaded: {type(error).__name__}") from error


def write_optimised(model: bytes, graph: Path, weights: str) -> None:
    """Write a network as ONNX Runtime optimises it for this processor.

    Parameters
    ----------
    model : bytes
        An ONNX file.
    graph : path
        File for the graph, which `NetworkSession` loads with ``optimised=True``.
    weights : str
        Name of the file for the weights, in the same folder; a session maps it.

    Raises
    ------
    ModelCorrupt
        The bytes are not a usable model, or the files cannot be written.
    """
    options = _session_options(1, "cpu")
    options.optimized_model_filepath = str(graph)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "4096")
    _load(model, options, _PROVIDERS["cpu"])


class _OnnxRuntime:
    def __init__(self, model: str | bytes, threads: int, provider: str, optimised: bool):
        name, options = _PROVIDERS[provider], _session_options(threads, provider)
        if optimised:
            options.graph_optimization_level = _import_onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = _load(model, options, name)
        if provider == "cpu" and getattr(self._session, "_model_bytes", None) is not None:
            # Python's InferenceSession keeps a model's bytes for changing to another provider, which never happens here: they
            # would take as much memory as the weights, which it has copied
            self._session._model_bytes = None
        if self._session.get_providers()[0] != name:
            # onnxruntime would silently fall back to the processor
            raise ModelError(f"the {provider} provider cannot be used here: its device or its libraries are missing")
        self.inputs = tuple(item.name for item in self._session.get_inputs())
        self.outputs = tuple(item.name for item in self._session.get_outputs())

    def infer(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        outputs: list[np.ndarray] = self._session.run(None, dict(inputs))
        return outputs


class _OpenVino:
    def __init__(self, model: str | bytes, threads: int, provider: str, optimised: bool):
        import openvino

        config = {
            "INFERENCE_NUM_THREADS": threads,
            # by default openvino uses bf16 where the processor supports it
            "INFERENCE_PRECISION_HINT": "bf16" if provider == "openvino-bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            core = openvino.Core()
            self._compiled = core.compile_model(core.read_model(model), "CPU", config)
        except RuntimeError as error:
            raise ModelCorrupt(f"the model cannot be loaded: {type(error).__name__}") from error
        self.inputs = tuple(item.get_any_name() for item in self._compiled.inputs)
        self.outputs = tuple(item.get_any_name() for item in self._compiled.outputs)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        # a request owns the outputs' memory, so each call needs its own
        answer = self._compiled.create_infer_request().infer(dict(inputs))
        return [np.array(answer[name]) for name in self.outputs]


def release_memory() -> None:
    """Return memory that is unused after loading a network to the system; glibc would keep about a hundred megabytes."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl does not have it, and does not need it
        if trim is not None:
            trim(0)
