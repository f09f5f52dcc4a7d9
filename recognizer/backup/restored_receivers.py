"""Who gets messages from a state folder: webhooks, a broker, browsers, and whoever rules send to. For `restore`.

A restore brings back who was removed since the backup was made, and they get messages about people again. So it says who they
are, and can leave them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from recognizer.core.errors import RecognizerError
from recognizer.core.vault import Vault
from recognizer.events.receiver_store import RECEIVERS_FILE, ReceiverStore
from recognizer.events.webhooks import shown, webhook_id
from recognizer.rules.push_store import PUSH_FILE, PushStore
from recognizer.rules.rule_file import RULES_FILE, RuleFile
from recognizer.rules.rule_model import shown_url

_SETTINGS = ("webhooks", "mqtt_url")


@dataclass(frozen=True)
class StoredReceiver:
    """Somebody who gets messages.

    Attributes
    ----------
    file : str
        The file that names it, in the state folder.
    key : str
        Tells receivers apart; contains no secret.
    words : str
        What it is, without secrets.
    """

    file: str
    key: str
    words: str


def stored_receivers(state: Path, vault: Vault | None) -> list[StoredReceiver]:
    """Who gets messages by the files of a state folder; files that cannot be read name nobody."""
    found: list[StoredReceiver] = []
    for listed in (_of_events, _of_push, _of_rules):
        with suppress(RecognizerError):
            found += listed(state, vault)
    return found


def _of_events(state: Path, vault: Vault | None) -> Iterator[StoredReceiver]:
    stored = ReceiverStore.in_file(state / RECEIVERS_FILE, _SETTINGS, vault).all()
    for url in stored.get("webhooks") or ():
        yield StoredReceiver(RECEIVERS_FILE, f"webhook {webhook_id(url)}", f"webhook {shown(url)}")
    if broker := stored.get("mqtt_url"):
        yield StoredReceiver(RECEIVERS_FILE, f"mqtt {shown(broker)}", f"MQTT broker {shown(broker)}")


def _of_push(state: Path, vault: Vault | None) -> Iterator[StoredReceiver]:
    for each in PushStore.in_file(state / PUSH_FILE, vault).all():
        yield StoredReceiver(PUSH_FILE, f"browser {each.id}", f"browser {each.label or each.id}")


def _of_rules(state: Path, vault: Vault | None) -> Iterator[StoredReceiver]:
    for each in RuleFile(state / RULES_FILE, vault).all():
        if not each.enabled or each.action == "push":
            continue
        where = f"the topic {each.topic}" if each.action == "mqtt" else shown_url(each.url)
        yield StoredReceiver(RULES_FILE, f"rule {each.id}", f"rule {each.id}, which sends to {where}")


def leave_out_receivers(state: Path, vault: Vault | None) -> None:
    """Take out of a state folder, which nobody uses, all who get messages; its rules stay, switched off.

    The server's key for browsers stays too: browsers that are still wanted subscribe again with it by themselves.

    Raises
    ------
    StorageError
    """
    (state / RECEIVERS_FILE).unlink(missing_ok=True)
    push, rules = PushStore.in_file(state / PUSH_FILE, vault), RuleFile(state / RULES_FILE, vault)
    try:
        push.remove(lambda each: True)
    except RecognizerError:  # damaged: nobody can use it, but somebody could repair it
        (state / PUSH_FILE).unlink(missing_ok=True)
    with suppress(RecognizerError):  # damaged rules are not followed
        for rule in rules.all():
            rules.change(rule.id, lambda each: replace(each, enabled=False))
    for name in (PUSH_FILE, RULES_FILE):
        (state / f"{name}.lock").unlink(missing_ok=True)
