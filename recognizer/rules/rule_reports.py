"""What rules have reported on all nodes of a database: together they report somebody no more often than a rule allows.

Each event is in the log of one node, and that node reports it. Who an event was about is stored as the number of a person,
which has no row any longer once the person is erased; no name is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from recognizer.core.errors import RecognizerError
from recognizer.core.names import DEFAULT_GROUP
from recognizer.database.connection import Database
from recognizer.rules.rule_model import SEPARATOR, Rule

_HOUR = 3600.0
#: Seconds after which a node counts as gone that should have switched something off.
PATIENCE_FOR_OTHERS = 15.0


class SharedReports:
    """The reports of one node, and its view of the others'. Any thread may call.

    Parameters
    ----------
    database : Database
    node : str
        The node is in the table `node`.
    """

    def __init__(self, database: Database, node: str):
        self._database, self._node = database, node

    def claim(self, rule: Rule, event: Mapping[str, Any]) -> bool:
        """Whether a rule may report an event of this node now; if so, it counts as reported from now on.

        Of several nodes that ask at once for the same rule, each is answered after the other. Asking again for the same event
        gives the same answer as long as it is stored.

        Raises
        ------
        DatabaseAway, StorageError
        """
        subject = event.get("subject")
        keep = max(_HOUR, rule.apart_minutes * 60)
        with self._database.transaction() as connection:
            execute = connection.execute
            if execute("select 1 from rule where id = %s for update", [rule.id]).fetchone() is None:
                return False  # it was removed a moment ago
            execute("delete from rule_report where rule = %s and at < now() - make_interval(secs => %s)", (rule.id, keep))
            mine = (rule.id, self._node, event["id"])
            if execute("select 1 from rule_report where rule = %s and node = %s and event = %s", mine).fetchone():
                return True
            person = None
            if subject is not None:
                group, _, name = subject.rpartition(SEPARATOR)
                found = execute(
                    "select s.id from subject s join people_group g on g.id = s.people_group where g.name = %s and s.name = %s",
                    (group or DEFAULT_GROUP, name),
                ).fetchone()
                person = None if found is None else found[0]
            counted = execute(
                "select count(*) filter (where at > now() - interval '1 hour'), "
                "count(*) filter (where at > now() - make_interval(secs => %(apart)s) "
                "and case when %(known)s then subject = %(person)s else not known end) from rule_report where rule = %(rule)s",
                {"apart": rule.apart_minutes * 60, "known": subject is not None, "person": person, "rule": rule.id},
            ).fetchone()
            assert counted is not None  # an aggregate has a row
            if counted[0] >= rule.most_per_hour or counted[1]:
                return False
            execute(
                "insert into rule_report (rule, node, event, known, subject) values (%s, %s, %s, %s, %s)",
                (*mine, subject is not None, person),
            )
            return True

    def give_back(self, rule: Rule, event: Mapping[str, Any]) -> None:
        """Note that an event was not reported after all; what cannot be noted counts for a while."""
        with suppress(RecognizerError), self._database.transaction() as connection:
            connection.execute(
                "delete from rule_report where rule = %s and node = %s and event = %s", (rule.id, self._node, event["id"])
            )

    def note_switched_on(self, rule: Rule) -> None:
        """Note that this node is the one that will switch off what a rule switched on.

        Raises
        ------
        DatabaseAway, StorageError
        """
        with self._database.transaction() as connection:
            connection.execute(
                "update rule set off_by = %s, off_at = now() + make_interval(secs => %s) where id = %s",
                (self._node, rule.off_seconds, rule.id),
            )

    def switches_off(self, rule: Rule) -> bool:
        """Whether this node is to switch off what a rule switched on: no other node has switched it on since.

        Raises
        ------
        DatabaseAway, StorageError
        """
        rows = self._database.rows("select off_by from rule where id = %s", [rule.id])
        return not rows or rows[0][0] in (None, self._node)

    def note_switched_off(self, rule: Rule) -> None:
        """Note that this node has switched off what a rule switched on.

        Raises
        ------
        DatabaseAway, StorageError
        """
        with self._database.transaction() as connection:
            connection.execute("update rule set off_at = null where id = %s and off_by = %s", (rule.id, self._node))

    def take_over(self, rule: Rule) -> bool:
        """Whether this node is to switch off, from now on, what a node switched on that has not ended it in time.

        Raises
        ------
        DatabaseAway, StorageError
        """
        return bool(
            self._database.rows(
                "update rule set off_by = %s, off_at = now() where id = %s and off_by <> %s "
                "and off_at < now() - make_interval(secs => %s) returning id",
                (self._node, rule.id, self._node, PATIENCE_FOR_OTHERS),
            )
        )
