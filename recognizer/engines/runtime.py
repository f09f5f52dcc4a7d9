"""One small session interface over the inference runtimes.

ONNX Runtime on the processor is the one that is always there. The others are asked for by name, and imported only then.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import ModelCorrupt, ModelError, ModelMissing

#: provider name -> ONNX Runtime's execution provider
_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cpu-int8": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
PROVIDERS = (*_PROVIDERS, "openvino", "openvino-bf16")
#: The provider whose networks are 8-bit where that pays (see `int8`); what a session is given decides.
INT8 = "cpu-int8"
#: Providers that compute in full precision, so that their results may be held against a reference.
EXACT = ("cpu", "openvino")
#: What has to be installed for a provider; the first three take onnxruntime's place.
_PACKAGES = {
    "cuda": "onnxruntime-gpu", "directml": "onnxruntime-directml", "coreml": "onnxruntime (on a Mac)",
    "openvino": "openvino", "openvino-bf16": "openvino",
}  # fmt: skip


def require_provider(provider: str) -> None:
    """Nothing if `provider` is one, and the package that brings it is installed.

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
        import onnxruntime

        if _PROVIDERS[provider] not in onnxruntime.get_available_providers():
            raise ModelError(f"the provider {provider} is not part of the installed onnxruntime: it needs {package}")


class Session:
    """A loaded network. `run` may be called from several threads at once; Python's lock is released meanwhile.

    Parameters
    ----------
    model : str, Path or bytes
        An ONNX file, or its bytes.
    threads : int
        Threads that work on one `run` together. One is best where several photos are worked on at once.
    provider : str
        One of `PROVIDERS`.

    Attributes
    ----------
    inputs, outputs : tuple of str
        Names, in the model's order.

    Raises
    ------
    ModelError
        There is no such provider, or it is not installed.
    ModelMissing
        There is no such file.
    ModelCorrupt
        The bytes are not a model that can be run.
    """

    def __init__(self, model: str | Path | bytes, threads: int = 1, provider: str = "cpu"):
        require_provider(provider)
        if threads < 1:
            raise ValueError(f"expected at least one thread, got {threads}")
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise ModelMissing(f"expected the model {Path(model).name}, the file is not there")
        backend = _OpenVino if provider.startswith("openvino") else _OnnxRuntime
        self._backend = backend(model if isinstance(model, bytes) else str(model), threads, provider)
        self.inputs, self.outputs = self._backend.inputs, self._backend.outputs

    def run(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run the network on its inputs by name, or on its only input; its outputs in the model's order."""
        if isinstance(inputs, np.ndarray):
            inputs = {self.inputs[0]: inputs}
        return self._backend.run(inputs)


@cache
def _one_arena() -> bool:
    """Give all sessions on the processor one arena of memory, if this onnxruntime can: each would grow to its own peak.

    Measured with the default engine: 276 MB resident in all instead of 288, and 1 % more after thousands of photos, not 3.
    """
    import onnxruntime

    try:
        memory = onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        )
        # zeros and minus ones are onnxruntime's defaults; it grows by what is asked for
        arena = {"max_mem": 0, "arena_extend_strategy": 1, "initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
        onnxruntime.create_and_register_allocator(memory, onnxruntime.OrtArenaCfg(arena))
    except Exception:  # onnxruntime's exceptions share no other base; an arena for each session serves as well
        return False
    return True


class _OnnxRuntime:
    def __init__(self, model: str | bytes, threads: int, provider: str):
        import onnxruntime

        if sys.platform == "win32":  # elsewhere the package's own variable has seen to it
            onnxruntime.disable_telemetry_events()
        name = _PROVIDERS[provider]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal: what goes wrong is raised, the rest is chatter
        # spinning threads take the cores from whoever else works
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # sizes vary from call to call, so a plan of memory made for one of them helps nobody; the arena stays on, since
        # the C library's per-thread heaps come out both slower and larger
        options.enable_mem_pattern = False
        if provider == "cpu" and _one_arena():
            options.add_session_config_entry("session.use_env_allocators", "1")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=[name])
        except MemoryError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no other base
            raise ModelCorrupt(f"the model cannot be loaded: {type(error).__name__}") from error
        if self._session.get_providers()[0] != name:
            # it would go on on the processor without a word
            raise ModelError(f"the {provider} provider cannot be used here: its device or its libraries are missing")
        self.inputs = tuple(item.name for item in self._session.get_inputs())
        self.outputs = tuple(item.name for item in self._session.get_outputs())

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run(None, dict(inputs))


class _OpenVino:
    def __init__(self, model: str | bytes, threads: int, provider: str):
        import openvino

        config = {
            "INFERENCE_NUM_THREADS": threads,
            # left alone, it would pick bf16 by itself where the processor has it
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

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        # a request holds the outputs' memory, so each call has its own
        answer = self._compiled.create_infer_request().infer(dict(inputs))
        return [np.array(answer[name]) for name in self.outputs]


def release_memory() -> None:
    """Give what loading a network left unused back to the system; glibc would keep a hundred megabytes of it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none, and needs none
        if trim is not None:
            trim(0)
