"""How far the networks are from what this processor can do: arithmetic, processor time, and share of the measured peak.

    python benchmarks/limits.py [--data DIR] [--quick] [--json FILE]

The peaks of one core are measured in the same run: a product of two matrices of float32 for arithmetic, a copy of an array that
no cache holds for memory. Each network runs on one thread, on an input of the size that live video and photos give it; its
multiplications and additions are counted from its graph. A network far below the peak has room; one near it becomes faster only
by less arithmetic or smaller numbers. The steps on a picture are compared with a copy of its pixels. At last, whole requests
are divided into the libraries' own work (networks, decoding, scaling and cutting, dlib's points) and ours between them.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


class PartTimes:
    """The processor time that is spent within the libraries' own code, by kind of work. A context manager."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._before: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> PartTimes:
        import cv2
        import simplejpeg

        from recognizer.engines import joined
        from recognizer.engines.dlib import onnx as dlib_onnx

        for owner, name, kind in (
            (runtime.NetworkSession, "infer", "networks"),
            (simplejpeg, "decode_jpeg", "decoding"),
            (cv2, "resize", "resizing, chips"),
            (cv2, "warpAffine", "resizing, chips"),
            (joined, "shapes", "dlib's points"),
            (dlib_onnx, "_cut", "resizing, chips"),
        ):
            inner = getattr(owner, name)
            self._before.append((owner, name, inner))
            setattr(owner, name, self._timed(inner, kind))
        return self

    def __exit__(self, *exception: object) -> None:
        for owner, name, inner in self._before:
            setattr(owner, name, inner)

    def _timed(self, inner: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            begun = time.thread_time()
            try:
                return inner(*args, **named)
            finally:
                self.seconds[kind] = self.seconds.get(kind, 0.0) + time.thread_time() - begun

        return timed


def asked(data: bytes) -> Callable[[], object]:
    """What posts a photo to our server, without a connection."""
    import hug

    import api

    api.site.load()
    app = hug.API(api.__name__).http.server()
    head = {"REQUEST_METHOD": "POST", "PATH_INFO": "/recognize", "QUERY_STRING": "", "CONTENT_TYPE": "image/jpeg"}
    head |= {"CONTENT_LENGTH": str(len(data)), "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "HTTP_HOST": "127.0.0.1"}
    head |= {"REMOTE_ADDR": "127.0.0.1", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "wsgi.multithread": True}

    def ask() -> object:
        said: list[str] = []
        reply = app({**head, "wsgi.input": io.BytesIO(data), "wsgi.errors": sys.stderr}, lambda status, *_: said.append(status))
        body = b"".join(reply)
        if not said[0].startswith("200"):
            raise SystemExit(f"{said[0]}: {body.decode()}")
        return body

    return ask


def requests(data: Path, rounds: int) -> list[dict]:
    """What a photo costs from the request to the reply, and what of it is ours."""
    rows = []
    for name in ("obama-480p.jpg", "obama-1080p.jpg"):
        photo = report.need(data, "people", name).read_bytes()
        ask = asked(photo)
        ask()
        found = []
        for _ in range(3 * rounds):
            with PartTimes() as parts:
                begun = time.process_time()
                ask()
                found.append((time.process_time() - begun, parts.seconds))
        total, least_parts = sorted(found, key=lambda each: each[0])[len(found) // 2]
        ours = total - sum(least_parts.values())
        row: dict[str, Any] = {"photo": name, "cpu ms": 1000 * total}
        row |= {kind: 1000 * seconds for kind, seconds in sorted(least_parts.items(), key=lambda each: -each[1])}
        rows.append({**row, "ours": 1000 * ours, "ours, share": ours / total})
    return rows


def of_an_own_server(options) -> list[dict]:
    """`requests`, with one person enrolled in a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "known_faces", "obama")
        known.mkdir(parents=True)
        (known / "obama.jpg").write_bytes(report.need(options.data, "people", "obama2.jpg").read_bytes())
        os.environ |= {"RECOGNIZER_KNOWN_FACES": str(known.parent), "RECOGNIZER_STATE_DIR": f"{folder}/state"}
        os.environ |= {"RECOGNIZER_LOG_LEVEL": "warning"}
        try:
            return requests(options.data, 5 if options.quick else 30)
        finally:
            import api

            api.site.close()


def main() -> None:
    options = report.parser(__doc__, data=True).parse_args()
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
    asked_for = of_an_own_server(options)
    report.table(asked_for, "A request with a photo, one after the other: the libraries' own work, and the rest, which is ours")
    report.save(options, requests=asked_for, peak_gflops=arithmetic, peak_gbs=memory, networks=nets, pictures=steps)


if __name__ == "__main__":
    main()
