"""Reads the weight files of face-api's networks: TensorFlow.js shards, tensors one after the other without any header.

layouts.json has their names, shapes and order, and for those of 8 bits the scale and the least value: value = byte * scale +
least. Convolutions are stored as (height, width, in, out), depthwise ones as (height, width, channels, 1).
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.errors import ModelCorrupt


@cache
def _layouts() -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = json.loads(Path(__file__).with_name("layouts.json").read_text("utf-8"))
    return found


def read_shard(key: str, data: bytes) -> dict[str, np.ndarray]:
    """The tensors of the file of `key` by name, as float32.

    Raises
    ------
    ModelCorrupt
        The file is shorter or longer than its layout.
    """
    tensors, at = {}, 0
    for name, shape, *quantised in _layouts()[key]:
        count = math.prod(shape)
        size = count if quantised else 4 * count
        raw = data[at : at + size]
        at += size
        if len(raw) != size:
            raise ModelCorrupt(f"the weights of {key} end too early, in {name}")
        if quantised:
            scale, least = quantised
            values = (np.frombuffer(raw, np.uint8).astype(np.float64) * scale + least).astype(np.float32)
        else:
            values = np.frombuffer(raw, "<f4").astype(np.float32)
        tensors[name] = values.reshape(shape)
    if at != len(data):
        raise ModelCorrupt(f"the weights of {key} are {len(data)} bytes, expected {at}")
    return tensors
