"""Where rules are stored: a JSON file in the state folder, encrypted where there is a key.

It holds addresses of notifications, which are secret, and names of people: its mode is 0600, and it is replaced in one step.
Several processes may share it: each reads what another one changed, and changes it under a lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from recognizer.core.disk import SeenFile, disk_errors
from recognizer.core.errors import InvalidParameter, KeyMissing, SealBroken, StorageError
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import own_folder, remove_erasing, replace_erasing, write_durably
from recognizer.core.vault import Vault, is_sealed
from recognizer.rules.rule_model import Rule, parsed, plain
from recognizer.rules.rule_store import PURPOSE, DamagedRules, RuleStore

RULES_FILE = "rules.json"
_LOCK_SECONDS = 10.0


class RuleFile(RuleStore):
    """The rules of an installation with a state folder. Any thread may call.

    Parameters
    ----------
    file : Path
        May be missing; the first rule creates it.
    vault : Vault, optional
    """

    def __init__(self, file: Path, vault: Vault | None = None):
        super().__init__()
        self._file, self._vault = file, vault
        self._seen = SeenFile(file)
        self._file_lock = FairLock(file.with_name(f"{file.name}.lock"))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock, disk_errors("the rules cannot be stored"):
            own_folder(self._file.parent)
            try:
                with self._file_lock.hold(_LOCK_SECONDS):
                    self._refresh()
                    yield
            except TimeoutError:
                raise StorageError("the rules are in use by another process") from None

    def _refresh(self) -> None:
        if not self._seen.changed():
            return
        try:
            self._rules = {} if self._seen.missing else {each.id: each for each in self._read()}
        except BaseException:
            self._seen.forget()
            raise

    def _read(self) -> list[Rule]:
        with disk_errors("the rules cannot be read"):
            data = self._file.read_bytes()
        if is_sealed(data):
            if self._vault is None:
                raise KeyMissing("the rules are encrypted, and there is no key")
            try:
                data = self._vault.open(data, PURPOSE)
            except SealBroken as error:
                raise DamagedRules(f"{self._file.name} is damaged: {error.message}") from error
        try:
            return [parsed(each) for each in json.loads(data)["rules"]]
        except (ValueError, TypeError, KeyError, InvalidParameter) as error:
            raise DamagedRules(f"{self._file.name} is damaged ({type(error).__name__}): repair or delete it") from error

    def _write(self, rules: Mapping[str, Rule]) -> None:
        data = json.dumps({"version": 1, "rules": [plain(each) for each in rules.values()]}, ensure_ascii=False).encode()
        if self._vault is not None:
            data = self._vault.seal(data, PURPOSE)
        try:  # what is replaced held names, perhaps of somebody who is erased
            if replace_erasing(self._file, data, expected=os.stat(self._file)) is None:
                raise StorageError("the rules were changed by hand at the same time; try again")
        except FileNotFoundError:
            write_durably(self._file, data, mode=0o600)
        self._rules = dict(rules)
        self._seen.forget()

    def _delete_damaged(self) -> None:
        with disk_errors("the damaged file of the rules cannot be deleted"), suppress(FileNotFoundError):
            remove_erasing(self._file)
