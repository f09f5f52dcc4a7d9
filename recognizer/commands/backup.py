"""backup, restore: everything that an installation keeps, into one file and back."""

from __future__ import annotations

from pathlib import Path

import click

from .common import common_options, emit, plain, say, state


def _places():
    from ..encryption import Places
    from ..vault import open_vault

    settings = state().settings()
    vault = open_vault(settings.encryption_key, settings.encryption_key_file)
    return Places(settings.known_faces, settings.state_dir), vault


def _step(what: str) -> None:
    say(f"{what} ...")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@common_options
def backup(file):
    """Write everything that is kept into FILE: people, templates, events, cameras, keys, audit log.

    A server may go on meanwhile. FILE is replaced when the backup is whole. With an encryption key set, all of it is encrypted
    with that; the key itself is not in it.
    """
    from .. import __version__, audit
    from .. import backup as work
    from ..changes import Changes
    from ..encryption import Presence

    places, vault = _places()
    presence = Presence(places)
    try:
        with audit.acting(audit.command_line_actor()), work.new_file(file) as opened:
            done = work.write(places, opened, vault, Changes(places.state), __version__, _step)
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
@click.option("--replace", is_flag=True, help="What is here may go.")
@click.option("--check", is_flag=True, help="Only see whether FILE is whole; nothing is changed.")
@common_options
def restore(file, replace, check):
    """Put what a backup holds in place. The server has to be stopped.

    With an encryption key set, what FILE holds is encrypted with it, whether it was before or not.
    """
    from .. import audit
    from .. import restore as work

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
    return f"{people} {'person' if people == 1 else 'people'} with {photos} photo{'' if photos == 1 else 's'}"


COMMANDS = (backup, restore)
