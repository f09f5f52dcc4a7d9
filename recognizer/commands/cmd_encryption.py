"""encryption: encrypt everything that is stored, change the key, or decrypt."""

from __future__ import annotations

from pathlib import Path

import click

from recognizer.commands.common import emit, folder_settings, plain, say, shared_options, state, table


def _places():
    from recognizer.backup.reseal import Places

    settings = folder_settings()
    return Places(settings.known_faces, settings.state_dir, settings.groups_dir), settings


def _say_step(what: str) -> None:
    say(f"{what} ...")


@click.group()
@shared_options("json", "folder")
def encryption():
    """Encrypt photos, templates, thumbnails and events with one key, change it, or decrypt them.

    `init`, `rotate` and `decrypt` need the server stopped. After an interruption, run the command again.
    """


@encryption.command()
@click.option("--key-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Key file to create or use.")
@shared_options("json", "folder")
def init(key_file):
    """Encrypt all stored data with the key of the settings or of FILE, which is created if it is missing.

    Without the key nothing can be read any more: keep a copy of it elsewhere.
    """
    from recognizer.backup import reseal as work
    from recognizer.core.disk import storage_error
    from recognizer.core.errors import SettingsError
    from recognizer.core.vault import Vault, create_key_file, new_key, open_vault, read_key_file

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
                raise storage_error("the key file cannot be written", error) from error
        vault = Vault(read_key_file(file)) if file is not None else open_vault(settings.encryption_key, None)
        work.require(held, vault)
        done = work.reseal(places, vault, vault, _say_step)
    _report(done, f"everything is encrypted with the key {vault.current}")
    if key_file is not None:
        say(f"set RECOGNIZER_ENCRYPTION_KEY_FILE={plain(str(key_file.absolute()))} for the server, and keep a copy elsewhere")


@encryption.command()
@shared_options("json", "folder")
def rotate():
    """Encrypt all stored data with a new key. It is added to the key file; the old key is removed from it at the end.

    Where the key is a setting, put the new key before the old one first: `NEW,OLD`.
    """
    from recognizer.backup import reseal as work
    from recognizer.core.disk import storage_error
    from recognizer.core.errors import SettingsError
    from recognizer.core.files import write_durably
    from recognizer.core.vault import Vault, key_file_text, new_key, open_vault, read_key_file

    places, settings = _places()
    file = settings.encryption_key_file
    vault = open_vault(settings.encryption_key, file)
    if vault is None:
        raise SettingsError("there is no key: `encryption init` encrypts the data")
    with work.alone(places):
        held = work.held_keys(places)
        work.require(held, vault)
        if len(vault.ids) == 1:
            if file is None:
                raise SettingsError("expected two keys in RECOGNIZER_ENCRYPTION_KEY, the new one first: NEW,OLD")
            try:
                write_durably(file, key_file_text([new_key(), *read_key_file(file)]).encode(), mode=0o600)
            except OSError as error:
                raise storage_error("the key file cannot be written", error) from error
            vault = Vault(read_key_file(file))
        done = work.reseal(places, vault, vault, _say_step)
        if file is not None:
            try:
                write_durably(file, key_file_text(read_key_file(file)[:1]).encode(), mode=0o600)
            except OSError as error:
                raise storage_error("the key file cannot be written", error) from error
    _report(done, f"everything is encrypted with the key {vault.current}; older keys are needed for older backups only")


@encryption.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options("json", "folder")
def decrypt(yes):
    """Decrypt all stored data."""
    from recognizer.backup import reseal as work
    from recognizer.core.errors import SettingsError
    from recognizer.core.vault import open_vault

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
@shared_options("json", "folder")
def status_():
    """Show with which key the data is encrypted, and which data is not."""
    from recognizer.backup import reseal as work
    from recognizer.core.vault import open_vault

    places, settings = _places()
    found = work.status(places, open_vault(settings.encryption_key, settings.encryption_key_file))
    if state().json:
        emit(found)
        return
    click.echo(f"encrypted with: {', '.join(found['keys']) or 'no key'}; key that is set: {', '.join(found['set']) or 'none'}")
    kinds = {name: found[name] for name in found if name not in ("keys", "set")}
    rows = [[kind.replace("_", " "), key, number] for kind, keys in kinds.items() for key, number in sorted(keys.items())]
    table(["what", "key", "count"], rows)


def _report(done: dict, text: str) -> None:
    if state().json:
        emit(done)
    else:
        click.echo(text)


COMMANDS = (encryption,)
