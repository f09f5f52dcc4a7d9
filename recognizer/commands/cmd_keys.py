"""keys: the API keys of the server."""

from __future__ import annotations

import time

import click

from recognizer.access.keys import ROLES
from recognizer.commands.common import emit, say, shared_options, state, table
from recognizer.core.times import iso_time

_DAY = 86400


@click.group(invoke_without_command=True)
@click.pass_context
@shared_options("json")
def keys(context):
    """List, create and revoke API keys.

    As soon as there is a key, every request needs one. A running server notices within a second.
    """
    if context.invoked_subcommand is None:
        return _list()
    return None


def _keys():
    from recognizer.access.keys import Keys
    from recognizer.access.opening_access import open_access

    return Keys(open_access(state().settings().state_dir, state().database()))


def _secrets():
    from recognizer.access.opening_access import open_signing
    from recognizer.core.vault import open_vault

    settings = state().settings()
    vault = lambda: open_vault(settings.encryption_key, settings.encryption_key_file)  # noqa: E731
    return open_signing(settings.state_dir, vault, state().database())


def _note(action: str, **details) -> None:
    """Write a change into the audit log."""
    from recognizer.core import audit
    from recognizer.database.opening import open_audit

    with audit.acting(audit.command_line_actor()):
        open_audit(state().settings().state_dir, None, state().database()).append(action, **details)


@keys.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="read", show_default=True, help="Role of the key.")
@click.option(
    "--days", type=click.FloatRange(0, 36500), default=365, show_default=True, help="Days until the key expires; 0 for never."
)
@click.option("--signing", is_flag=True, help="Let it sign requests, as clients of Amazon Rekognition do: it is stored itself.")
@shared_options("json")
def add(name, role, days, signing):
    """Create a key for NAME, and show it once."""
    key, text = _keys().add(name, role, time.time() + days * _DAY if days else None)
    if signing:
        _secrets().add(key.id, text)
    _note("key_add", key=key.id, role=role, **({"signing": True} if signing else {}))
    if state().json:
        emit({**_row(key), "key": text})
        return
    click.echo(text)
    say(f"The key is shown only this once. It may {_MAY[role]}; {_until(key)}; its id is {key.id}.")
    if signing:
        say(f"The access key id is {key.id}, and the secret access key is the whole key.")


_MAY = {
    "read": "recognize, verify and detect",
    "write": "recognize, enrol and erase",
    "admin": "do everything",
}


@keys.command("list")
@shared_options("json")
def list_():
    """List all keys, including expired and revoked ones. The default of `keys`."""
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
@shared_options("json")
def revoke(id):
    """Revoke the key with this ID and end its sessions. A running server notices."""
    key = _keys().revoke(id)
    _secrets().remove(id)
    _note("key_revoke", key=key.id)
    if state().json:
        emit(_row(key))
    else:
        click.echo(f"{key.name}: revoked")


def _row(key) -> dict:
    """A key without its secret."""
    expired = key.expires is not None and key.expires <= time.time()
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "state": "revoked" if key.revoked is not None else "expired" if expired else "valid",
        "made": _time(key.made),
        "expires": _time(key.expires),
        "revoked": _time(key.revoked),
    }


def _until(key) -> str:
    return f"it expires on {iso_time(key.expires)[:10]}" if key.expires else "it never expires"


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else iso_time(seconds, "seconds")
