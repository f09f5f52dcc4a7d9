"""What every place where rules are stored does alike: finding, changing, renaming and erasing in them."""

from __future__ import annotations

import logging
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

from recognizer.core.brief import brief
from recognizer.core.errors import RuleNotFound, StorageError, TooManyRules
from recognizer.rules.rule_model import Rule, is_about, renamed, with_renamed_zones, without

log = logging.getLogger("recognizer.rules")

#: What encrypted rules are for.
PURPOSE = "rules"
MOST_RULES = 50


class DamagedRules(StorageError):
    """Stored rules cannot be understood."""


class RuleStore(ABC):
    """All rules as they are stored. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rules: dict[str, Rule] = {}

    def all(self) -> list[Rule]:
        """Every rule, in the order in which they were made.

        Raises
        ------
        StorageError, KeyMissing, SealBroken, DatabaseAway
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

    def since(self, id_: str) -> float:
        """Events before this are not reported by a rule, in seconds since 1970; 0 where only the cursor says so."""
        return 0.0

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

    def take_in(self, rules: Iterable[Rule]) -> int:
        """Store rules of another installation with their ids, as far as these are free and there is room; how many.

        Raises
        ------
        StorageError
        """
        with self._changing():
            new = {each.id: each for each in rules if each.id not in self._rules}
            room = max(0, MOST_RULES - len(self._rules))
            taken = dict(list(new.items())[:room])
            if taken:
                self._write({**self._rules, **taken})
            return len(taken)

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

        What cannot be understood is deleted, because it may name the person.

        Raises
        ------
        StorageError, KeyMissing
        """
        try:
            found = self.find(name)
        except DamagedRules as error:
            log.error("damaged rules are deleted, because somebody is erased whom they may name: %s", error.message)
            self._delete_damaged()
            found = self.find(name)
        if found:
            with self._changing():
                left = {id_: without(each, name) for id_, each in self._rules.items()}
                self._write({id_: each for id_, each in left.items() if each is not None})

    # -- where they are -----------------------------------------------------------------------------------------

    @abstractmethod
    def _changing(self) -> AbstractContextManager[None]:
        """No other process changes the rules inside, and what others changed is known."""

    @abstractmethod
    def _refresh(self) -> None:
        """Learn what others changed. The lock is held."""

    @abstractmethod
    def _write(self, rules: Mapping[str, Rule]) -> None:
        """Store these rules instead of all that are known, durably; called within `_changing`."""

    @abstractmethod
    def _delete_damaged(self) -> None:
        """Delete what cannot be understood."""
