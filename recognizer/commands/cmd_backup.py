"""backup, restore: everything that an installation stores, in one file and back."""

from __future__ import annotations

from pathlib import Path

import click

from recognizer.commands.common import emit, plain, say, service, shared_options, state
from recognizer.core.errors import NotEmpty
from recognizer.core.wording import plural

#: What of a single server's backup is not put into a database, by its name in the state folder.
_PER_NODE = ("events", "strangers", "visits.sqlite", "photos.sqlite")
_ALREADY = "there are {} in the database already: create an empty one with `database init`"


def _places():
    from recognizer.backup.reseal import Places
    from recognizer.core.vault import open_vault

    settings = state().settings()
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

    Where servers share a database, FILE gets what is in it, and the photos; not what each server keeps for itself, such as
    events and strangers.
    """
    from recognizer import __version__
    from recognizer.backup import backup as work
    from recognizer.backup.reseal import EncryptionPresence
    from recognizer.core import audit
    from recognizer.core.disk import disk_errors
    from recognizer.core.files import new_file
    from recognizer.core.lock import WriteLock

    stored = disk_errors("the backup cannot be written")
    if state().settings().database_url:
        from recognizer.service import node_backup

        with service(started=False) as made, stored, new_file(file) as opened:
            done = node_backup.write(made, opened, _step)
    else:
        places, vault = _places()
        presence = EncryptionPresence(places)
        try:
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
@click.option(
    "--without",
    type=click.Choice(["receivers"]),
    help="Leave out who gets messages: webhooks, the MQTT broker and browsers; rules are restored, but off.",
)
@shared_options("json", "folder")
def restore(file, replace, check, without):
    """Restore a backup. The server must be stopped.

    Webhooks, the MQTT broker, browsers and rules come back as they were when the backup was made, also those that were removed
    since. The command lists who gets messages again; with --without receivers nobody does.

    If an encryption key is set, the restored data is encrypted with it, even if it was not encrypted before.

    Where servers share a database, it must have been created by `database init` and be empty. What a backup of a single server
    has of events, strangers, visits and the photo archive is left out.
    """
    from recognizer.backup import restore as work
    from recognizer.core import audit

    if check and without:
        raise click.UsageError("--check restores nothing, with or without receivers")
    places, vault = _places()
    if check:
        done = work.check(file, vault)
    elif state().settings().database_url:
        if replace:
            raise click.UsageError("--replace does not work with a database: create an empty one, and restore into that")
        done = _restore_to_database(file, vault, without is None)
    else:
        with audit.acting(audit.command_line_actor()):
            done = work.restore(file, places, vault, replace=replace, receivers=without is None, step=_step)
    if state().json:
        emit({"file": str(file), **done})
        return
    click.echo(f"{plain(str(file))} {'is whole' if check else 'is restored'}: {_people(done)}, of {plain(str(done['made']))}")
    for problem in done.get("audit_problems", ()):
        say(f"the audit log: {plain(problem)}")
    _say_receivers(done)


def _say_receivers(done: dict) -> None:
    """Say who gets messages again after a restore, or would have."""
    for each in done.get("receivers", ()):
        say(f"gets messages again: {plain(each['what'])}{' (not there before this restore)' if each['new'] else ''}")
    if done.get("receivers"):
        say("whoever must not get any: remove it on the page, or restore with --without receivers")
    for each in done.get("receivers_left_out", ()):
        say(f"left out, gets no messages: {plain(each['what'])}")


def _restore_to_database(file: Path, vault, receivers: bool) -> dict:
    """Restore a backup into an empty database; what it is."""
    from recognizer.backup import backup as writing
    from recognizer.backup import restore as work
    from recognizer.backup.reseal import Places
    from recognizer.commands.loading import load_access, load_all
    from recognizer.core.files import own_folder
    from recognizer.database import schema
    from recognizer.service import make_service

    settings, database = state().settings(), state().database()
    assert database is not None  # the caller saw its setting
    schema.require_current(database)
    _require_empty(database, vault)
    own_folder(settings.state_dir)
    with writing.scratch_folder(settings.state_dir) as scratch:
        places = Places(scratch / "known_faces", scratch / "state")
        places.state.mkdir()
        done = work.restore(file, places, vault, receivers=receivers, step=_step)
        _step("enrolling everybody")
        folders = {"known_faces": places.known_faces, "groups": None, "state_dir": places.state}
        alone = settings.replace(**folders, database_url=None, watch=False)
        source = make_service(alone)
        try:
            source.start()
            with service(started=True) as made:
                load_access(places.state, made, database)
                loaded = load_all(source, made, settings.max_image_bytes)
        finally:
            source.close()
        left_out = [name.partition(".")[0] for name in _PER_NODE if (places.state / name).exists()]
    if loaded.problems:
        say(f"{plural(loaded.problems, 'file')} cannot be used and are left out")
    if left_out:
        say(f"left out, since nodes do not share them: {', '.join(left_out)}")
    done["receivers"] = [each for each in done["receivers"] if each["file"].partition(".")[0] not in left_out]
    return {**done, "people": loaded.people, "photos": loaded.photos, "problems": loaded.problems, "left_out": left_out}


def _require_empty(database, vault) -> None:
    """Refuse a database in which anything is stored; a key for notifications, which the page makes, is nothing yet."""
    from recognizer.core.settings import RECEIVER_SETTINGS
    from recognizer.events.receiver_store import ReceiverStore
    from recognizer.rules.push_store import PushStore

    for table, what in (
        ("subject", "people"),
        ("bin", "deletions that can be undone"),
        ("camera", "cameras"),
        ("rule", "rules"),
        ("access_key", "keys"),
        ("audit_line", "an audit log"),
    ):
        if database.rows(f"select 1 from {table} limit 1"):
            raise NotEmpty(_ALREADY.format(what))
    if ReceiverStore.in_database(database, RECEIVER_SETTINGS, vault).all():
        raise NotEmpty(_ALREADY.format("receivers of events"))
    if PushStore.in_database(database, vault).all():
        raise NotEmpty(_ALREADY.format("browsers that get notifications"))


def _people(done: dict) -> str:
    people, photos = done["people"], done["photos"]
    return f"{plural(people, 'person', 'people')} with {plural(photos, 'photo')}"


COMMANDS = (backup, restore)
