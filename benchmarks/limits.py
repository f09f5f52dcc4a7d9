"""How far the networks are from what this processor can do: arithmetic, processor time, and share of the measured peak.

    python benchmarks/limits.py [--quick] [--json FILE]

The peaks of one core are measured in the same run: a product of two matrices of float32 for arithmetic, a copy of an array that
no cache holds for memory. Each network runs on one thread, on an input of the size that live video and photos give it; its
multiplications and additions are counted from its graph. A network far below the peak has room; one near it becomes faster only
by less arithmetic or smaller numbers. The steps on a picture are compared with a copy of its pixels.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import report

from recognizer.core.settings import Settings
from recognizer.engines import prepared, runtime

#: Shape of what each network of the default engine is given: a picture of 16:9, or one chip; RGB uint8.
GIVEN = {"yunet": (1, 384, 640, 3), "sface": (1, 112, 112, 3), "dlib_resnet": (1, 150, 150, 3)}


def least(work: Callable[[], object], rounds: int) -> float:
    """The least processor time of so many calls, in seconds: other work on the machine can only add to it."""
    work()
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def peaks(rounds: int) -> tuple[float, float]:
    """GFLOP/s of a matrix product, and GB/s that a copy reads and writes."""
    one = np.random.default_rng(0).random((1024, 1024), np.float32)
    large, into = np.ones(1 << 26, np.uint8), np.empty(1 << 26, np.uint8)
    product = least(lambda: one @ one, rounds)
    copied = least(lambda: np.copyto(into, large), rounds)
    return 2 * 1024**3 / product / 1e9, 2 * large.nbytes / copied / 1e9


def operations(file: Path, shape: tuple[int, ...]) -> float:
    """Multiplications and additions of a network's convolutions and dense layers, in millions, for an input of this shape."""
    import onnx

    model = onnx.load(str(file))
    for size, dimension in zip(shape, model.graph.input[0].type.tensor_type.shape.dim, strict=True):
        dimension.dim_value = size
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model)
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output)
    }
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += int(np.prod(shapes[node.output[0]])) * int(np.prod(weights[node.input[1]][1:]))
        elif node.op_type in ("Gemm", "MatMul"):
            total += int(np.prod(weights[node.input[1]]))
    return 2 * total / 1e6


def networks(folder: Path, peak: float, rounds: int) -> list[dict]:
    rows = []
    for name, shape in GIVEN.items():
        files = sorted(folder.glob(f"{name}-*.onnx"), key=lambda file: file.stat().st_mtime)
        if not files:
            continue  # it was never loaded here
        session = runtime.NetworkSession(files[-1])
        given = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        seconds = least(lambda session=session, given=given: session.infer(given), rounds)
        millions = operations(files[-1], shape)
        rate = millions / 1e3 / seconds
        rows.append(
            {
                "network": name,
                "input": "x".join(map(str, shape)),
                "MFLOP": millions,
                "cpu ms": 1000 * seconds,
                "GFLOP/s": rate,
                "of the peak": rate / peak,
            }
        )
    return rows


def pictures(rate: float, rounds: int) -> list[dict]:
    """The steps on a picture of 1080p, against a copy of its pixels."""
    import simplejpeg

    from recognizer.photos import images

    coarse = np.random.default_rng(0).integers(0, 256, (135, 240, 3)).astype(np.uint8)
    pixels = np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1))
    data = simplejpeg.encode_jpeg(pixels, 85)
    steps: dict[str, Callable[[], object]] = {
        "copying": pixels.copy,
        "decoding": lambda: images.decode(data).pixels,
        "decoding for detection": lambda: images.decode(data, long_side=640).pixels,
        "scaling for detection": lambda: images.resize(pixels, 640),
    }
    rows = []
    for name, work in steps.items():
        seconds = least(work, rounds)
        rows.append(
            {"step": name, "cpu ms": 1000 * seconds, "of a copy at the peak": seconds / (2 * pixels.nbytes / rate / 1e9)}
        )
    return rows


def main() -> None:
    options = report.parser(__doc__).parse_args()
    report.need_packages("onnx")
    rounds = 5 if options.quick else 30
    arithmetic, memory = peaks(rounds)
    print(f"One core: {arithmetic:.0f} GFLOP/s by a matrix product, {memory:.1f} GB/s read and written by a copy")
    folder = Settings.from_environment().models_dir / prepared.FOLDER
    nets = networks(folder, arithmetic, rounds)
    if not nets:
        raise SystemExit("No network was prepared here yet: run `recognizer models fetch` and recognise a photo first.")
    report.table(nets, "Networks of the default engine, float32, one thread")
    steps = pictures(memory, rounds)
    report.table(steps, "A picture of 1080p")
    report.save(options, peak_gflops=arithmetic, peak_gbs=memory, networks=nets, pictures=steps)


if __name__ == "__main__":
    main()
