"""Makes a service from settings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recognizer.backup import reseal
from recognizer.backup.reseal import EncryptionPresence
from recognizer.core.errors import DatabaseAway, InvalidSource, SettingsError
from recognizer.core.metrics import Metrics
from recognizer.core.pool import Pool
from recognizer.core.settings import CHANGEABLE, Settings
from recognizer.core.vault import Vault, open_vault
from recognizer.database import nodes, schema
from recognizer.database.connection import Database
from recognizer.database.local_copy import LocalCopy
from recognizer.database.opening import open_adjustments, open_audit, open_database, open_lock
from recognizer.engines import Engine, make_engine, weights_for
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.examination import EncodingOptions, EnrolmentRules
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.photo_store import StoredPhotos, open_store
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.postgres import snapshot
from recognizer.galleries.postgres.gallery import PostgresGallery
from recognizer.service.composition import Foundation, Service
from recognizer.video.sources.source import parse_source
from recognizer.video.tracking.workers import cores
from recognizer.weights import manifest

if TYPE_CHECKING:
    from recognizer.fetching.fetcher import Fetcher


def needed_files(settings: Settings) -> tuple[str, ...]:
    """Keys of the files (see `models`) that the service needs: the engine's weights, and the font of the labels."""
    return (*weights_for(settings.detector, settings.embedder), "font")


def make_service(
    settings: Settings,
    download: manifest.Progress | None = None,
    metrics: Metrics | None = None,
    database: Database | None = None,
    make: Callable[..., Engine] | None = None,
) -> Service:
    """Build the service that `settings` describe; `Service.start` makes it ready.

    Parameters
    ----------
    settings : Settings
    download : callable, optional
        Called with the progress of fetching missing weights; see `manifest.fetch`.
    metrics : Metrics, optional
        Counts work and results.
    database : Database, optional
        The one of the settings, if it is open already.
    make : callable, optional
        Makes the engine instead of `make_engine`: one that began before, see `engines.engine_ahead`.

    Raises
    ------
    ModelError
        Weights are missing and could not be fetched.
    StorageError
        A folder cannot be used.
    SettingsError
        The setting `camera` names nothing that can be read, or the database cannot be used as it is.
    EngineMismatch
        The database has templates of another engine.
    DatabaseAway
    """
    try:
        parse_source(settings.camera)
    except InvalidSource as error:
        raise SettingsError(f"RECOGNIZER_CAMERA: {error.message}") from None
    vault = open_vault(settings.encryption_key, settings.encryption_key_file)
    places = reseal.Places(settings.known_faces, settings.state_dir, settings.groups_dir)
    with ExitStack() as opened:  # quick checks come first, so that errors are reported at once
        presence = reseal.EncryptionPresence(places)
        opened.callback(presence.close)
        reseal.check(places, vault)
        database = database or open_database(settings.database_url)
        if database is not None:
            try:
                schema.require_current(database)
            except DatabaseAway:
                if not settings.watch:  # a command
                    raise
        folder = KnownFaces(settings.known_faces, vault)
        cache = EncodingsCache(settings.state_dir / "encodings.sqlite", vault, without_disk=True)
        opened.callback(cache.close)
        manifest.fetch(needed_files(settings), settings.models_dir, download)
        engine = (make or make_engine)(**settings.engine_recipe)
        made = Service(_foundation(settings, _Opened(vault, presence, database, folder, cache), engine), metrics)
        opened.pop_all()
        return made


@dataclass(frozen=True, slots=True)
class _Opened:
    """What the quick checks of a start opened."""

    vault: Vault | None
    presence: EncryptionPresence
    database: Database | None
    folder: KnownFaces
    cache: EncodingsCache


def _foundation(settings: Settings, opened: _Opened, engine: Engine) -> Foundation:
    vault, database = opened.vault, opened.database
    rules = EnrolmentRules(
        settings.max_image_bytes,
        settings.max_image_pixels,
        settings.enroll_min_face,
        strip_metadata=settings.strip_metadata,
    )
    workers = settings.workers or cores()
    changes = open_lock(settings.state_dir, database)
    options = EncodingOptions(engine, settings.engine_recipe, rules, workers)
    enrolment: Enrolment
    if database is None:
        if settings.watch and (settings.state_dir / snapshot.FOLDER).exists():  # of a database that is not used any longer
            snapshot.remove_snapshot(settings.state_dir / snapshot.FOLDER)
        # a file of vectors in plain form is no place for what is to be encrypted
        gallery = MemoryGallery(engine.info.id, engine.info.dim, folder=settings.state_dir if vault is None else None)
        enrolment = Enrolment(opened.folder, opened.cache, gallery, options, settings.keep_photos, changes.hold)
    else:
        opened.cache.close()
        enrolment = _shared_enrolment(settings, database, options, vault)

    @functools.cache
    def fetcher() -> Fetcher:  # what it imports, such as TLS, a command without URLs does not need
        from recognizer.fetching.fetcher import Fetcher

        return Fetcher(allow=settings.fetch_allow, timeout=settings.fetch_timeout, max_bytes=settings.max_image_bytes)

    audit = open_audit(settings.state_dir, vault, database)
    copy = LocalCopy(settings.state_dir / "settings-copy.json", lambda: vault, settings.snapshot_hours if settings.watch else 0)
    adjustments = open_adjustments(settings.state_dir, CHANGEABLE, database, copy)
    pool = Pool(workers, settings.queue)
    return Foundation(settings, enrolment, pool, fetcher, audit, opened.presence, changes, adjustments)


def _shared_enrolment(settings: Settings, database: Database, options: EncodingOptions, vault: Vault | None) -> SharedEnrolment:
    """The enrolment of a node; the node is known to the others on return."""
    info = options.engine.info
    node = nodes.own_id(settings.state_dir)
    gallery = PostgresGallery(database, info.id, info.dim, vault)
    folder = settings.state_dir / snapshot.FOLDER
    if settings.watch and settings.snapshot_hours:
        gallery.copy.keep_snapshot(snapshot.Snapshot(folder, info.id, info.dim, vault))
    elif settings.watch and folder.exists():
        snapshot.remove_snapshot(folder)
    state = None
    try:
        schema.join(database, info.id, info.dim, vault)
        nodes.report(database, node, 0, settings.node_url, settings.node_cameras)
    except DatabaseAway:
        state = gallery.copy.start_from_snapshot(settings.snapshot_hours)
        if state is None:
            raise
    store = open_store(settings.photos) if settings.keep_photos and settings.photos is not None else None
    made = SharedEnrolment(database, gallery, StoredPhotos(store, vault), options, vault, node)
    if state is not None:
        made.start_alone(state.forced)
    return made
