"""Where rules are stored: a JSON file in the state folder, encrypted where there is a key.

It holds addresses of notifications, which are secret, and names of people: its mode is 0600, and it is replaced in one step.
Several processes may share it: each reads what another one changed, and changes it under a lock.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from recognizer.core.brief import brief
from recognizer.core.disk import SeenFile, disk_errors
from recognizer.core.errors import InvalidParameter, KeyMissing, RuleNotFound, SealBroken, StorageError, TooManyRules
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import own_folder, remove_erasing, replace_erasing, write_durably
from recognizer.core.vault import Vault, is_sealed
from recognizer.rules.rule_model import Rule, is_about, parsed, plain, renamed, with_renamed_zones, without

log = logging.getLogger("recognizer.rules")

RULES_FILE = "rules.json"
#: What the encrypted file is for.
PURPOSE = "rules"
MOST_RULES = 50
_LOCK_SECONDS = 10.0


class DamagedRules(StorageError):
    """The file of the rules cannot be understood."""


class RuleFile:
    """All rules as they are stored. Any thread may call.

    Parameters
    ----------
    file : Path
        May be missing; the first rule creates it.
    vault : Vault, optional
    """

    def __init__(self, file: Path, vault: Vault | None = None):
        self._file, self._vault = file, vault
        self._lock = threading.RLock()
        self._rules: dict[str, Rule] = {}
        self._seen = SeenFile(file)
        self._file_lock = FairLock(file.with_name(f"{file.name}.lock"))

    def all(self) -> list[Rule]:
        """Every rule, in the order in which they were made.

        Raises
        ------
        StorageError, KeyMissing, SealBroken
        """
        with self._lock:
            self._refresh()
            return list(self._rules.values())

    def get(self, id_: str) -> Rule:
        """One rule.

        Raises
        ------
        RuleNotFound, StorageError
        """
        found = next((each for each in self.all() if each.id == id_), None)
        if found is None:
            raise RuleNotFound(f"there is no rule {brief(id_)!r}", rule=brief(id_))
        return found

    def add(self, make: Callable[[str], Rule]) -> Rule:
        """Store a new rule, which `make` makes of its id; durable on return.

        Raises
        ------
        TooManyRules, StorageError
        """
        with self._changing():
            if len(self._rules) >= MOST_RULES:
                raise TooManyRules(f"there are {MOST_RULES} rules already, which is the maximum", rules=MOST_RULES)
            rule = make(secrets.token_hex(5))
            self._write({**self._rules, rule.id: rule})
            return rule

    def change(self, id_: str, change: Callable[[Rule], Rule]) -> Rule:
        """Store a rule as `change` returns it; durable on return.

        Raises
        ------
        RuleNotFound, StorageError
        """
        with self._changing():
            rule = change(self.get(id_))
            self._write({**self._rules, id_: rule})
            return rule

    def remove(self, id_: str) -> Rule:
        """Remove a rule, and return it.

        Raises
        ------
        RuleNotFound, StorageError
        """
        with self._changing():
            rule = self.get(id_)
            self._write({key: each for key, each in self._rules.items() if key != id_})
            return rule

    def rename_zones(self, camera: str, names: Mapping[str, str]) -> None:
        """Store the new names of a camera's zones, `names` by the old ones, in the rules that are about them.

        Raises
        ------
        StorageError, KeyMissing
        """
        if any(with_renamed_zones(each, camera, names) != each for each in self.all()):
            with self._changing():
                self._write({id_: with_renamed_zones(each, camera, names) for id_, each in self._rules.items()})

    # -- one person ---------------------------------------------------------------------------------------------

    def find(self, name: str) -> list[Rule]:
        """The rules that mention a person, by the name in events.

        Raises
        ------
        StorageError
        """
        return [each for each in self.all() if is_about(each, name)]

    def rename(self, old: str, new: str) -> None:
        """Give a person another name.

        Raises
        ------
        StorageError
        """
        if self.find(old):
            with self._changing():
                self._write({id_: renamed(each, old, new) for id_, each in self._rules.items()})

    def erase(self, name: str) -> None:
        """Take a person out of every rule; rules about nobody else are removed.

        A damaged file is deleted, because it may name the person.

        Raises
        ------
        StorageError, KeyMissing
        """
        try:
            found = self.find(name)
        except DamagedRules as error:
            log.error("all rules are deleted, because somebody is erased whom they may name: %s", error.message)
            with disk_errors("the damaged file of the rules cannot be deleted"), suppress(FileNotFoundError):
                remove_erasing(self._file)
            return
        if found:
            with self._changing():
                left = {id_: without(each, name) for id_, each in self._rules.items()}
                self._write({id_: each for id_, each in left.items() if each is not None})

    # -- the file -----------------------------------------------------------------------------------------------

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """No other process changes the rules inside, and what others changed is known."""
        with self._lock, disk_errors("the rules cannot be stored"):
            own_folder(self._file.parent)
            try:
                with self._file_lock.hold(_LOCK_SECONDS):
                    self._refresh()
                    yield
            except TimeoutError:
                raise StorageError("the rules are in use by another process") from None

    def _refresh(self) -> None:
        """Read the file if it has changed."""
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
