"""Broken, odd and oversized images, sent to a running server: a clear answer to each, and the server goes on."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from .. import data


@pytest.mark.parametrize("part", range(4))
def test_hostile_files(writer, faces, part):
    folder = data.folder("hostile")
    files = sorted(path for path in folder.rglob("*") if path.is_file())[part::4]

    def ask(path):
        return path.name, writer.post("/recognize", data=path.read_bytes(), headers={"Content-Type": "image/jpeg"})

    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        replies = list(pool.map(ask, files))
    statuses = {name: reply.status_code for name, reply in replies}
    strange = {name: status for name, status in statuses.items() if status not in (200, 400, 413, 415, 422)}
    assert strange == {}
    assert 200 in statuses.values()
    assert writer.names(faces["obama"]) == [None]
    assert writer.get("/health").json()["queue"]["inside"] == 0
