"""encryption: bring everything that is kept under a key, under another one, or under none."""

from __future__ import annotations

from pathlib import Path

import click

from .common import common_options, emit, plain, say, state, table


def _places():
    from ..encryption import Places

    settings = state().settings()
    return Places(settings.known_faces, settings.state_dir), settings


def _say_step(what: str) -> None:
    say(f"{what} ...")


@click.group()
@common_options
def encryption():
    """Encrypt photos, templates, thumbnails and events with one key, change it, or decrypt them.

    `init`, `rotate` and `decrypt` need the server stopped. Interrupted, they are simply called again.
    """


@encryption.command()
@click.option("--key-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Key file to make or use.")
@common_options
def init(key_file):
    """Encrypt what is kept, with the key of the settings or of FILE, which is made if it is not there.

    Without the key nothing can be read any more: keep a copy of it elsewhere.
    """
    from .. import encryption as work
    from ..errors import SettingsError, StorageError
    from ..vault import Vault, create_key_file, new_key, open_vault, read_key_file

    places, settings = _places()
    file = key_file or settings.encryption_key_file
    if file is None and settings.encryption_key is None:
        raise SettingsError("expected --key-file, or the setting RECOGNIZER_ENCRYPTION_KEY_FILE or RECOGNIZER_ENCRYPTION_KEY")
    with work.alone(places):
        held = work.held_keys(places)
        if file is not None and not file.exists() and not held:
            try:
                create_key_file(file, [new_key()])
            except OSError as error:
                raise StorageError(f"the key file cannot be written: {(error.strerror or '').lower()}") from error
        vault = Vault(read_key_file(file)) if file is not None else open_vault(settings.encryption_key, None)
        work.require(held, vault)
        done = work.reseal(places, vault, vault, _say_step)
    _report(done, f"everything is encrypted with the key {vault.current}")
    if key_file is not None:
        say(f"set RECOGNIZER_ENCRYPTION_KEY_FILE={plain(str(key_file.absolute()))} for the server, and keep a copy elsewhere")


@encryption.command()
@common_options
def rotate():
    """Encrypt what is kept with a new key, which is put into the key file; the old one is taken out when that is done.

    Where the key is a setting, put the new key before the old one first: `NEW,OLD`.
    """
    from .. import encryption as work
    from ..errors import SettingsError, StorageError
    from ..files import write_durably
    from ..vault import Vault, new_key, open_vault, read_key_file, written

    places, settings = _places()
    file = settings.encryption_key_file
    vault = open_vault(settings.encryption_key, file)
    if vault is None:
        raise SettingsError("there is no key: `encryption init` encrypts what is kept")
    with work.alone(places):
        held = work.held_keys(places)
        work.require(held, vault)
        if len(vault.ids) == 1:
            if file is None:
                raise SettingsError("expected two keys in RECOGNIZER_ENCRYPTION_KEY, the new one first: NEW,OLD")
            try:
                write_durably(file, written([new_key(), *read_key_file(file)]).encode(), mode=0o600)
            except OSError as error:
                raise StorageError(f"the key file cannot be written: {(error.strerror or '').lower()}") from error
            vault = Vault(read_key_file(file))
        done = work.reseal(places, vault, vault, _say_step)
        if file is not None:
            try:
                write_durably(file, written(read_key_file(file)[:1]).encode(), mode=0o600)
            except OSError as error:
                raise StorageError(f"the key file cannot be written: {(error.strerror or '').lower()}") from error
    _report(done, f"everything is encrypted with the key {vault.current}; older keys are needed for older backups only")


@encryption.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
def decrypt(yes):
    """Write everything that is kept without encryption again."""
    from .. import encryption as work
    from ..errors import SettingsError
    from ..vault import open_vault

    places, settings = _places()
    vault = open_vault(settings.encryption_key, settings.encryption_key_file)
    if vault is None:
        raise SettingsError("there is no key: see RECOGNIZER_ENCRYPTION_KEY_FILE")
    if not yes and not click.confirm("Write all photos and templates without encryption?", err=True):
        say("nothing was decrypted")
        return 1
    with work.alone(places):
        work.require(work.held_keys(places), vault)
        done = work.reseal(places, vault, None, _say_step)
    _report(done, "nothing is encrypted any longer; take the key out of the settings")
    return None


@encryption.command("status")
@common_options
def status_():
    """Say with which key everything is encrypted, and what is not."""
    from .. import encryption as work
    from ..vault import open_vault

    places, settings = _places()
    found = work.status(places, open_vault(settings.encryption_key, settings.encryption_key_file))
    if state().json:
        emit(found)
        return
    click.echo(f"encrypted with: {', '.join(found['keys']) or 'no key'}; key that is set: {', '.join(found['set']) or 'none'}")
    kinds = {name: found[name] for name in ("photos", "notes", "event_lines", "event_pictures")}
    rows = [[kind.replace("_", " "), key, number] for kind, keys in kinds.items() for key, number in sorted(keys.items())]
    table(["what", "key", "count"], rows)


def _report(done: dict, text: str) -> None:
    if state().json:
        emit(done)
    else:
        click.echo(text)


COMMANDS = (encryption,)
