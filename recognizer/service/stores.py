"""Where an installation keeps what it stores: in its folders, or in the database that nodes share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recognizer.core.holdings import Holding
from recognizer.core.lock import WriteLock
from recognizer.core.settings import DEFAULT, RECEIVER_SETTINGS, Settings
from recognizer.core.vault import Vault
from recognizer.database.connection import Database
from recognizer.database.local_copy import LocalCopy
from recognizer.enrolment import bin_folder
from recognizer.enrolment.bin_folder import Bin
from recognizer.enrolment.bin_store import BinStore
from recognizer.enrolment.bin_table import BinTable
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.identities import Identities, SharedIdentities
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.events.receiver_store import RECEIVERS_FILE, ReceiverStore
from recognizer.rules.push_store import PushStore
from recognizer.rules.rule_file import RULES_FILE, RuleFile
from recognizer.rules.rule_reports import SharedReports
from recognizer.rules.rule_store import RuleStore
from recognizer.rules.rule_table import RuleTable
from recognizer.service.dropped_photos import DroppedHolding
from recognizer.service.subject_holdings import SnapshotHolding
from recognizer.video.sources.camera_settings_file import CameraSettingsFile
from recognizer.video.sources.camera_settings_store import CameraSettingsStore
from recognizer.video.sources.camera_settings_table import CameraSettingsTable

if TYPE_CHECKING:
    from recognizer.video.sources.cameras import Cameras


class FolderStores:
    """The stores of one server, in its folders. `DatabaseStores` has the same methods.

    Parameters
    ----------
    settings : Settings
    vault : Vault, optional
        Encrypts what is stored.
    changes : WriteLock
    """

    #: The id of this node, and the database, where nodes share one.
    node: str | None = None
    database: Database | None = None

    def __init__(self, settings: Settings, vault: Vault | None, changes: WriteLock):
        self._settings, self._state, self._vault, self._changes = settings, settings.state_dir, vault, changes

    def camera_settings(self) -> CameraSettingsStore:
        """What is set for each camera."""
        return CameraSettingsFile(self._state / "camera-settings.json")

    def cameras(self) -> Cameras:
        """The list of cameras."""
        from recognizer.video.sources.cameras import Cameras  # a command that looks at photos needs none of this

        return Cameras(self._state / "cameras.json", **self._camera_options())

    def _camera_options(self) -> dict[str, Any]:
        from recognizer.video.sources.reach import Reach

        return {
            "default": self._settings.camera,
            "assumed": self._settings.source("camera")[0] == DEFAULT,
            "reach": Reach(self._settings.camera_allow),
            "files": self._settings.camera_files,
        }

    def push(self) -> PushStore:
        """The browsers that get notifications."""
        return PushStore.of(self._state, self.database, self._vault)

    def receivers(self) -> ReceiverStore:
        """Where events are sent."""
        return ReceiverStore.in_file(self._state / RECEIVERS_FILE, RECEIVER_SETTINGS, self._vault)

    def rules(self) -> RuleStore:
        """The rules about who comes and goes."""
        return RuleFile(self._state / RULES_FILE, self._vault)

    def rule_reports(self) -> SharedReports | None:
        """What other nodes reported by the rules; None where there is one server."""
        return None

    def identities(self, enrolment: Enrolment) -> Identities:
        """Ids of the people of a group."""
        return Identities(enrolment.folder, self._changes.hold)

    def bin(self, enrolment: Enrolment, state: Path, days: Callable[[], float]) -> BinStore:
        """Deletions of a group that can be undone for so many days; `state` is the folder of what is kept about the group."""
        grace = self._settings.expiry_grace_days
        return Bin(state / bin_folder.BIN, days, grace, self._vault, enrolment=enrolment)

    def common_holdings(self, enrolment: Enrolment) -> list[Holding]:
        """What nodes keep together about the people of a group, besides what one server keeps."""
        return []

    def own_holdings(self, enrolment: Enrolment) -> list[Holding]:
        """What each node keeps for itself about the people of a group, besides what one server keeps."""
        return []


class DatabaseStores(FolderStores):
    """The stores of a node: in the database, and in its own folders what other nodes do not need.

    Parameters
    ----------
    settings, vault, changes
        See `FolderStores`.
    shared : SharedEnrolment
        Of the default group.
    """

    def __init__(self, settings: Settings, vault: Vault | None, changes: WriteLock, shared: SharedEnrolment):
        super().__init__(settings, vault, changes)
        self.node, self.database = shared.node, shared.database
        self._tables = shared.database

    def camera_settings(self) -> CameraSettingsStore:
        hours = self._settings.snapshot_hours if self._settings.watch else 0
        copy = LocalCopy(self._state / "camera-settings-copy.json", lambda: self._vault, hours)
        return CameraSettingsTable(self._tables, copy)

    def cameras(self) -> Cameras:
        from recognizer.video.sources.shared_cameras import SharedCameras

        reads = self._settings.node_cameras
        return SharedCameras(self._tables, str(self.node), self._vault, reads, **self._camera_options())

    def receivers(self) -> ReceiverStore:
        return ReceiverStore.in_database(self._tables, RECEIVER_SETTINGS, self._vault)

    def rules(self) -> RuleStore:
        return RuleTable(self._tables, self._vault)

    def rule_reports(self) -> SharedReports | None:
        return SharedReports(self._tables, str(self.node))

    def identities(self, enrolment: Enrolment) -> Identities:
        return SharedIdentities(_shared(enrolment), self._changes.hold)

    def bin(self, enrolment: Enrolment, state: Path, days: Callable[[], float]) -> BinStore:
        return BinTable(_shared(enrolment), days, self._settings.expiry_grace_days)

    def common_holdings(self, enrolment: Enrolment) -> list[Holding]:
        shared = _shared(enrolment)
        return [DroppedHolding(shared, shared.photos.store)]

    def own_holdings(self, enrolment: Enrolment) -> list[Holding]:
        return [SnapshotHolding(_shared(enrolment))]


def _shared(enrolment: Enrolment) -> SharedEnrolment:
    assert isinstance(enrolment, SharedEnrolment), "where nodes share a database, all groups are in it"
    return enrolment
