"""backup, restore: everything that an installation stores, in one file and back."""

from __future__ import annotations

from pathlib import Path

import click

from recognizer.commands.common import emit, folder_settings, plain, say, shared_options, state
from recognizer.core.wording import plural


def _places():
    from recognizer.backup.reseal import Places
    from recognizer.core.vault import open_vault

    settings = folder_settings()
    vault = open_vault(settings.encryption_key, settings.encryption_key_file)
    return Places(settings.known_faces, settings.state_dir, settings.groups_dir), vault


def _step(what: str) -> None:
    say(f"{what} ...")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@shared_options("json", "folder")
def backup(file):
    """Write everything that is stored into FILE: people, templates, events, cameras, keys, audit log.

    A server may keep running. FILE is replaced when the backup is complete. If an encryption key is set, the backup is
    encrypted with it; the key itself is not included.
    """
    from recognizer import __version__
    from recognizer.backup import backup as work
    from recognizer.backup.reseal import EncryptionPresence
    from recognizer.core import audit
    from recognizer.core.disk import disk_errors
    from recognizer.core.files import new_file
    from recognizer.core.lock import WriteLock

    places, vault = _places()
    presence = EncryptionPresence(places)
    try:
        stored = disk_errors("the backup cannot be written")
        with audit.acting(audit.command_line_actor()), stored, new_file(file) as opened:
            done = work.write(places, opened, vault, WriteLock(places.state), __version__, _step)
    finally:
        presence.close()
    if state().json:
        emit({"file": str(file), **done})
        return
    key = done["encrypted_with"]
    click.echo(f"wrote {plain(str(file))}: {_people(done)}, {'encrypted with the key ' + key if key else 'not encrypted'}")
    for each in done["left_out"]:
        say(f"left out: {plain(each)}")
    head = done["audit_head"]
    say(f"the audit log's head is {head['seq']}:{head['hash']}")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Replace existing data.")
@click.option("--check", is_flag=True, help="Only check whether FILE is complete; change nothing.")
@shared_options("json", "folder")
def restore(file, replace, check):
    """Restore a backup. The server must be stopped.

    If an encryption key is set, the restored data is encrypted with it, even if it was not encrypted before.
    """
    from recognizer.backup import restore as work
    from recognizer.core import audit

    places, vault = _places()
    if check:
        done = work.check(file, vault)
    else:
        with audit.acting(audit.command_line_actor()):
            done = work.restore(file, places, vault, replace=replace, step=_step)
    if state().json:
        emit({"file": str(file), **done})
        return
    click.echo(f"{plain(str(file))} {'is whole' if check else 'is restored'}: {_people(done)}, of {plain(str(done['made']))}")
    for problem in done.get("audit_problems", ()):
        say(f"the audit log: {plain(problem)}")


def _people(done: dict) -> str:
    people, photos = done["people"], done["photos"]
    return f"{plural(people, 'person', 'people')} with {plural(photos, 'photo')}"


COMMANDS = (backup, restore)
