"""keys: who may use the server."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import click

from ..keys import ROLES
from .common import common_options, emit, say, state, table

_DAY = 86400


@click.group(invoke_without_command=True)
@click.pass_context
@common_options
def keys(context):
    """List the keys of the server, make them and revoke them.

    As soon as there is one, the server asks for one. A running server notices within a second.
    """
    if context.invoked_subcommand is None:
        return _list()
    return None


def _keys():
    from ..access_file import AccessFile
    from ..keys import Keys

    return Keys(AccessFile(state().settings().state_dir / "access.sqlite"))


def _note(action: str, **details) -> None:
    """Write a change into the audit log."""
    from .. import audit

    with audit.acting(audit.command_line_actor()):
        audit.AuditLog(state().settings().state_dir / "audit").append(action, **details)


@keys.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="read", show_default=True, help="What the key may do.")
@click.option(
    "--days", type=click.FloatRange(0, 36500), default=365, show_default=True, help="Days until it expires; 0 for never."
)
@common_options
def add(name, role, days):
    """Make a key for NAME, and show it this once."""
    key, text = _keys().add(name, role, time.time() + days * _DAY if days else None)
    _note("key_add", key=key.id, role=role)
    if state().json:
        emit({**_row(key), "key": text})
        return
    click.echo(text)
    say(f"This is the only time that the key is shown. It may {_MAY[role]}; {_until(key)}; its id is {key.id}.")


_MAY = {
    "read": "recognize, verify and detect",
    "write": "recognize, enrol and erase",
    "admin": "do everything",
}


@keys.command("list")
@common_options
def list_():
    """List all keys, those that ended too; what `keys` alone does."""
    return _list()


def _list() -> None:
    rows = [_row(key) for key in _keys().all()]
    if state().json:
        emit({"keys": rows})
    elif not rows and state().settings().admin_key:
        click.echo("there are no keys but the one that the settings give")
    elif not rows:
        click.echo("there are no keys: the server serves this machine only, and asks for none")
    else:
        shown = [[row["id"], row["name"], row["role"], row["state"], row["expires"] or "never"] for row in rows]
        table(["id", "name", "role", "state", "expires"], shown)


@keys.command()
@click.argument("id")
@common_options
def revoke(id):
    """End the key with this ID, and the sessions begun with it. The server notices while it runs."""
    key = _keys().revoke(id)
    _note("key_revoke", key=key.id)
    if state().json:
        emit(_row(key))
    else:
        click.echo(f"{key.name}: revoked")


def _row(key) -> dict:
    """A key as it is shown: nothing that could be used."""
    expired = key.expires is not None and key.expires <= time.time()
    return {
        "id": key.id, "name": key.name, "role": key.role,
        "state": "revoked" if key.revoked is not None else "expired" if expired else "valid",
        "made": _time(key.made), "expires": _time(key.expires), "revoked": _time(key.revoked),
    }  # fmt: skip


def _until(key) -> str:
    return f"it expires on {_time(key.expires)[:10]}" if key.expires else "it never expires"


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
