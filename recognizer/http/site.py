"""The parts of one server process: settings, keys, the gate, the audit log, metrics, the page, and the one service.

`Site` is made once, when `api.py` is imported. The routes receive it and ask it for the service, which is loaded on a thread of
its own while the server already answers that it is starting.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from recognizer import __version__
from recognizer.access import dialects
from recognizer.access.gate import ROUTES, AccessRules, Gate
from recognizer.access.keys import Keys
from recognizer.access.opening_access import open_access, open_signing
from recognizer.access.refusals import Refusals
from recognizer.access.sessions import Sessions
from recognizer.core import logs, tracing
from recognizer.core.collecting import collecting_later
from recognizer.core.errors import DatabaseAway, RecognizerError, SettingsError, Starting
from recognizer.core.metrics import Metrics
from recognizer.core.progress import Progress
from recognizer.core.settings import Settings
from recognizer.core.vault import open_vault
from recognizer.database import schema
from recognizer.database.local_copy import LocalCopy
from recognizer.database.opening import open_audit, open_database
from recognizer.engines import Engine
from recognizer.http.pages import Pages
from recognizer.rules.push_store import PushStore, PushSubscription
from recognizer.service import Service, make_service, needed_files
from recognizer.weights import manifest

log = logging.getLogger("recognizer")

#: Seconds that `Site.close` waits for a service that is still loading.
CLOSE_SECONDS = 5.0


def end_with(error: RecognizerError) -> NoReturn:
    """End the process with one sentence that says why it cannot start."""
    logs.announce(f"Recognizer cannot start: {error.message}", logging.CRITICAL)
    raise SystemExit(1) from None


class Site:
    """The parts of one server process, and the life of its service.

    Parameters
    ----------
    settings : Settings
    make : callable, optional
        Makes the engine; see `make_service`.

    Attributes
    ----------
    keys : Keys
    signing : signing.SigningSecrets
    gate : Gate
        Decides what each request may do.
    dialect_errors : dict
        Dialect -> the function that gives an error the status and the form of that dialect.
    database : Database or None
        What the nodes share; None where there is one server.
    access_log : AuditLog
        For entries that concern no subject; the service has an audit log of its own, which also knows subjects' names.
    refusals : Refusals
    metrics : Metrics
    pages : Pages
    """

    def __init__(self, settings: Settings, make: Callable[..., Engine] | None = None):
        self.settings, self._make_engine = settings, make
        self.database = open_database(settings.database_url)
        copy = LocalCopy(
            settings.state_dir / "access-copy.json",
            lambda: open_vault(settings.encryption_key, settings.encryption_key_file),
            settings.snapshot_hours,
        )
        access_file = open_access(settings.state_dir, self.database, copy)
        self.keys = Keys(access_file, settings.admin_key)
        rules = AccessRules(
            settings.anyone_may_do_anything,
            settings.allowed_hosts,
            settings.cors,
            settings.trusted_proxies,
            settings.rate_key,
            settings.rate_address,
        )
        sessions = Sessions(access_file, self.keys, settings.session_hours * 3600)
        vault = lambda: open_vault(settings.encryption_key, settings.encryption_key_file)  # noqa: E731
        self.signing = open_signing(settings.state_dir, vault, self.database)
        on = dialects.chosen(settings.dialects, list(ROUTES))
        self.gate = Gate(self.keys, sessions, rules, dialects=on, secrets=self.signing)
        self.dialect_errors: dict[str, Callable[[RecognizerError], tuple[int, Any]]] = {}
        self.access_log = open_audit(settings.state_dir, None, self.database)
        self.refusals = Refusals(self.access_log)
        self.metrics = Metrics()
        self.metrics.watch("recognizer_ready", lambda: not self.not_ready_reasons())
        self.pages = Pages(
            others={
                "swagger-ui.js": lambda: manifest.path("docs-script", settings.models_dir),
                "swagger-ui.css": lambda: manifest.path("docs-style", settings.models_dir),
            }
        )
        self._service: Service | None = None
        self._made: Service | None = None  # built, and perhaps still loading
        self._failure: RecognizerError | None = None
        self._lock = threading.Lock()
        self._closing = False
        self._progress: Progress | None = None

    @classmethod
    def from_environment(cls, make: Callable[..., Engine] | None = None) -> Site:
        """The site that the environment's settings describe; the process ends with a sentence if they are wrong."""
        try:
            return cls(Settings.from_environment(), make)
        except SettingsError as error:
            end_with(error)

    @property
    def service(self) -> Service:
        """The one service of this process.

        Raises
        ------
        Starting
            It is not loaded yet, or it is closed already.
        """
        loaded = self._service
        if loaded is None:
            raise self._starting()
        return loaded

    @property
    def loaded(self) -> bool:
        """Whether there is a service."""
        return self._service is not None

    def _starting(self) -> Starting:
        """Why there is no service yet: what is being loaded, and its progress."""
        if self._closing:
            return Starting("the server is shutting down")
        shown, made = self._progress, self._made
        now = shown.now if shown is not None else ""
        message = f"the server is starting ({now}); try again shortly" if now else "the server is starting; try again shortly"
        encoding = made.enrolment.encoding if made is not None else None
        return Starting(message) if encoding is None else Starting(message, encoding=encoding.as_dict())

    def load(self) -> None:
        """Load the service, or wait until another thread has; a second call does nothing, or fails as the first did.

        Raises
        ------
        RecognizerError
        """
        with self._loading() as progress:
            if self._service is None:
                made = self._make(progress)
                made.start(progress.photos)
                made.serve()
                self._service = made

    def _make(self, progress: Progress) -> Service:
        if self._made is None:
            with collecting_later(freeze=False):
                made = make_service(self.settings, progress.download, self.metrics, self.database, self._make_engine)
            made.push.may_get = self._may_still_get
            self._made = made
        if self._closing:
            self._made.groups.interrupt()
        return self._made

    def forget_session(self, name: str) -> None:
        """Notify the browsers of a session that ended no more, also while there is no service yet; durable on return.

        Raises
        ------
        SettingsError, StorageError, KeyMissing, DatabaseAway
        """
        vault = open_vault(self.settings.encryption_key, self.settings.encryption_key_file)
        PushStore.of(self.settings.state_dir, self.database, vault).forget_session(name)

    def _may_still_get(self, subscription: PushSubscription) -> bool:
        """Whether a browser may get notifications: whether its key is still good."""
        if subscription.key is not None:
            return self.keys.living(subscription.key) is not None
        return not self.keys.required()

    @contextlib.contextmanager
    def _loading(self) -> Iterator[Progress]:
        """Only one thread at a time is within the block; an error is remembered, and raised for every later one."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            try:
                with Progress(logged=logs.wants_json(self.settings.log)) as self._progress:
                    yield self._progress
            except RecognizerError as error:
                self._failure = error
                raise
            finally:
                self._progress = None

    def load_or_end(self) -> None:
        """Load the service, or end the process with a sentence that says why it cannot."""
        for sentence in self.settings.without_effect():
            log.warning("%s", sentence)
        try:
            tracing.configure(self.settings.traces, __version__)
            if self.database is not None:
                with contextlib.suppress(DatabaseAway):  # there may be a snapshot
                    schema.require_current(self.database)
            self.keys.required()  # without the keys, a node would answer everybody
            self.load()
        except RecognizerError as error:
            if not self._closing:  # an interrupted load is no failure
                end_with(error)

    def load_and_prepare(self) -> None:
        """`load_or_end`, and then, while the server answers already, what the first photo would have to wait for."""
        self.load_or_end()
        made = self._service
        if made is not None:
            try:
                made.engine.prepare()
            except Exception:  # the first photo will meet it again, and report it
                log.warning("preparing for the first photo failed", exc_info=True)

    def load_early(self) -> None:
        """Build the service on a thread while the routes are still being added.

        Nothing that takes long begins here: photos are encoded, and missing weights fetched, once the server listens, so that a
        port that is in use is reported first. `load_or_end` reports failures.
        """
        try:
            for key in needed_files(self.settings):
                manifest.path(key, self.settings.models_dir)
        except RecognizerError:
            return

        def work() -> None:
            with contextlib.suppress(RecognizerError), self._loading() as progress:
                self._make(progress)

        threading.Thread(target=work, name="start", daemon=True).start()

    def close(self) -> None:
        """Close the service. One that is still loading is interrupted; threads that do not end soon end with the process."""
        self._closing = True
        self.refusals.flush()
        if self._made is not None:
            self._made.groups.interrupt()
        if not self._lock.acquire(timeout=CLOSE_SECONDS):
            return
        try:
            made, self._service, self._made = self._made, None, None
            if made is not None:
                made.close()
        finally:
            self._lock.release()
            tracing.close()

    def not_ready_reasons(self) -> list[str]:
        """Why this process must not be sent requests now; empty when it is ready."""
        try:
            return self.service.unready()
        except Starting as error:
            return [error.message]
