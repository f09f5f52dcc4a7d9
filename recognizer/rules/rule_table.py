"""The rules of nodes that share a database: a row for each, encrypted where there is a key."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from recognizer.core.errors import InvalidParameter, SealBroken
from recognizer.core.vault import Vault, unsealed
from recognizer.database.connection import RULES, Database
from recognizer.rules.rule_model import Rule, parsed, plain
from recognizer.rules.rule_store import PURPOSE, DamagedRules, RuleStore

log = logging.getLogger("recognizer.rules")

_NOW = "extract(epoch from clock_timestamp())"


class RuleTable(RuleStore):
    """See `RuleStore` for what each method does; the database is asked each time. Any thread may call.

    Parameters
    ----------
    database : Database
    vault : Vault, optional
    """

    def __init__(self, database: Database, vault: Vault | None = None):
        super().__init__()
        self._database, self._vault = database, vault
        self._rows: list[tuple[Any, ...]] | None = None  # as they were read last
        self._since: dict[str, float] = {}

    def since(self, id_: str) -> float:
        with self._lock:
            return self._since.get(id_, 0.0)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock, self._database.transaction() as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", [RULES])
            self._refresh()
            yield

    def _refresh(self) -> None:
        rows = self._database.rows("select id, content, since from rule order by position")
        if rows == self._rows:
            return
        read = {id_: self._parsed(id_, bytes(content)) for id_, content, _ in rows}
        before = self._rules  # one that is the same stays the same object: whoever waits for its change waits on
        self._rules = {id_: before[id_] if before.get(id_) == rule else rule for id_, rule in read.items()}
        self._since = {id_: since for id_, _, since in rows}
        self._rows = rows

    def _parsed(self, id_: str, content: bytes) -> Rule:
        try:
            return parsed(json.loads(unsealed(content, self._vault, f"{PURPOSE} {id_}", "the rules are")))
        except SealBroken as error:
            raise DamagedRules(f"the rule {id_} in the database is damaged: {error.message}") from error
        except (ValueError, TypeError, KeyError, AttributeError, InvalidParameter) as error:
            raise DamagedRules(f"the rule {id_} in the database is damaged ({type(error).__name__})") from error

    def _sealed(self, rule: Rule) -> bytes:
        data = json.dumps(plain(rule), ensure_ascii=False).encode()
        return data if self._vault is None else self._vault.seal(data, f"{PURPOSE} {rule.id}")

    def _write(self, rules: Mapping[str, Rule]) -> None:
        before = self._rules
        with self._database.transaction() as connection:
            connection.execute("delete from rule where not id = any(%s)", [list(rules)])
            for id_, rule in rules.items():
                known = before.get(id_)
                if known is None:
                    connection.execute(
                        f"insert into rule (id, content, since) values (%s, %s, {_NOW})", (id_, self._sealed(rule))
                    )
                elif rule != known:
                    begins = f", since = {_NOW}" if rule.enabled and not known.enabled else ""
                    connection.execute(f"update rule set content = %s{begins} where id = %s", (self._sealed(rule), id_))
        self._rows = None  # read again by whoever asks next

    def _delete_damaged(self) -> None:
        with self._database.transaction() as connection:
            for id_, content in connection.execute("select id, content from rule").fetchall():
                try:
                    self._parsed(id_, bytes(content))
                except DamagedRules:
                    connection.execute("delete from rule where id = %s", [id_])
