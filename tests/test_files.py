"""Who may look into the folder of what is kept."""

import os
import stat

import pytest

from recognizer.access.access_file import AccessFile
from recognizer.access.keys import Keys
from recognizer.backup.reseal import EncryptionPresence, Places
from recognizer.core.adjustments import Adjustments
from recognizer.core.audit import AuditLog
from recognizer.core.files import own_folder
from recognizer.core.lock import WriteLock
from recognizer.core.settings import CHANGEABLE
from recognizer.enrolment.cache import EncodingsCache

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions of others are told by POSIX")

#: Whatever may be the first to need the state folder.
FIRST = {
    "a key": lambda state: Keys(AccessFile(state / "access.sqlite")).add("k", "read"),
    "the cache": lambda state: EncodingsCache(state / "encodings.sqlite").close(),
    "a change": WriteLock,
    "the audit log": lambda state: AuditLog(state / "audit").append("backup"),
    "a changed setting": lambda state: Adjustments(state / "settings.json", CHANGEABLE).set("stranger_rate", 0.02),
    "the service": lambda state: EncryptionPresence(Places(state.parent / "known_faces", state)).close(),
}


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
def test_the_state_folder_is_made_for_its_owner_alone(tmp_path, first):
    first(tmp_path / "above" / "state")
    assert stat.S_IMODE((tmp_path / "above" / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "above").stat().st_mode) == 0o755


def test_a_folder_that_somebody_made_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o750)
    own_folder(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750
