"""Where rules are stored: a JSON file in the state folder, encrypted where there is a key.

It holds addresses of notifications, which are secret, and names of people: its mode is 0600, and it is replaced in one step.
Several processes may share it: each reads what another one changed, and changes it under a lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from recognizer.core.disk import disk_errors
from recognizer.core.errors import InvalidParameter, SealBroken
from recognizer.core.files import remove_erasing
from recognizer.core.sealed_file import SealedFile
from recognizer.core.vault import Vault
from recognizer.rules.rule_model import Rule, parsed, plain
from recognizer.rules.rule_store import PURPOSE, DamagedRules, RuleStore

RULES_FILE = "rules.json"


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
        self._stored = SealedFile(file, "the rules", PURPOSE, vault)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock, self._stored.held():
            self._refresh()
            yield

    def _refresh(self) -> None:
        if not self._stored.changed():
            return
        try:
            self._rules = {} if self._stored.missing else {each.id: each for each in self._read()}
        except BaseException:
            self._stored.forget()
            raise

    def _read(self) -> list[Rule]:
        try:
            return [parsed(each) for each in json.loads(self._stored.read())["rules"]]
        except SealBroken as error:
            raise DamagedRules(f"{self._stored.file.name} is damaged: {error.message}") from error
        except (ValueError, TypeError, KeyError, InvalidParameter) as error:
            raise DamagedRules(f"{self._stored.file.name} is damaged ({type(error).__name__}): repair or delete it") from error

    def _write(self, rules: Mapping[str, Rule]) -> None:
        stored = {"version": 1, "rules": [plain(each) for each in rules.values()]}
        self._stored.write(json.dumps(stored, ensure_ascii=False).encode())
        self._rules = dict(rules)

    def _delete_damaged(self) -> None:
        with disk_errors("the damaged file of the rules cannot be deleted"), suppress(FileNotFoundError):
            remove_erasing(self._stored.file)
