"""Nodes that share a database, with an engine that nobody runs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from recognizer.core.vault import Vault
from recognizer.database import nodes, schema
from recognizer.database.connection import Database
from recognizer.enrolment.encodings import Encoding, photo_id
from recognizer.enrolment.examination import Examined
from recognizer.enrolment.photo_store import FolderPhotos, StoredPhotos
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.galleries.postgres.gallery import PostgresGallery
from recognizer.galleries.postgres.snapshot import Snapshot

ENGINE, DIM = "test/1", 4
UP, DOWN, LEFT = (1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0)


def encoding(data: bytes, vector, left: float = 10) -> Examined:
    made = Encoding(
        photo_id(data), ENGINE, "only", np.array(vector, np.float32), None, None, (left, 10, left + 50, 60), 0.9, 100, 100
    )
    return Examined(made, b"thumbnail of " + data)


class Node:
    """The enrolment of a node, without an engine."""

    def __init__(self, url: str, photos, name: str, vault: Vault | None = None, snapshot=None):
        self.database = Database(url)
        self.gallery = PostgresGallery(self.database, ENGINE, DIM, vault)
        if snapshot is not None:
            self.snapshot = Snapshot(snapshot, ENGINE, DIM, vault)
            self.gallery.copy.keep_snapshot(self.snapshot)
        calibration = SimpleNamespace(threshold=1.0)
        engine = SimpleNamespace(info=SimpleNamespace(id=ENGINE, dim=DIM, calibration=calibration))
        schema.join(self.database, ENGINE, DIM, vault)
        nodes.report(self.database, name, 0)
        store = None if photos is None else FolderPhotos(photos)
        self.enrolment = SharedEnrolment(
            self.database, self.gallery, StoredPhotos(store, vault), SimpleNamespace(engine=engine), vault, name
        )
        self.sync()

    def sync(self):
        self.enrolment.sync()

    def enrol(self, name: str, data: bytes, vector, left: float = 10):
        return self.enrolment.add(name, data, "jpg", encoding(data, vector, left))

    def nearest(self, vector) -> list[str]:
        self.enrolment.catch_up()
        return [each.subject for each in self.gallery.search(np.array([vector], np.float32), 9)[0]]

    def memory(self) -> dict:
        self.enrolment.catch_up()
        names = sorted(self.gallery.subjects())
        return {(name, each.photo): each.embedding.vector.tolist() for name in names for each in self.gallery.templates(name)}


def group(node: Node, name: str) -> SharedEnrolment:
    """The enrolment of a group at a node; made if it is not there."""
    node.enrolment.catch_up()
    found = {each.name: each.number for each in node.gallery.copy.groups.values()}
    if name not in found:
        with node.database.write() as changes:
            (number,) = changes.connection.execute(
                "insert into people_group (name, folded) values (%s, %s) returning id", (name, name)
            ).fetchone()
            changes.note("group", number)
        node.enrolment.catch_up()
        found[name] = number
    return node.enrolment.of_group(found[name], name)


def templates(enrolment: SharedEnrolment) -> dict:
    """Everything that searches of a group see."""
    enrolment.catch_up()
    names = sorted(enrolment.gallery.subjects())
    return {(name, each.photo): each.embedding.vector.tolist() for name in names for each in enrolment.gallery.templates(name)}
