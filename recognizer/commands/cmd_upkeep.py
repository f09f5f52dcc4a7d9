"""models, settings, doctor: check and maintain an installation. None of them loads an engine."""

from __future__ import annotations

import click

from recognizer.commands.common import all_options, emit, say, shared_options, state, table
from recognizer.core.settings import DEFAULT, PREFIX, SETTINGS, read_values


@click.group(invoke_without_command=True)
@click.pass_context
@shared_options("json")
def models(context):
    """List, download and verify the model weights."""
    if context.invoked_subcommand is None:
        return _list()
    return None


@models.command("list")
@shared_options("json")
def list_():
    """List the weights and whether they are present. The default of `models`."""
    return _list()


def _list() -> None:
    from recognizer.weights import manifest as weights

    held = weights.status(state().settings().models_dir)
    if state().json:
        emit({"models": [_asset(each) for each in held]})
        return
    rows = []
    for asset, now in ((each.asset, each.state) for each in held):
        rows.append([asset.key, now, _megabytes(asset.size), asset.licence, asset.what])
    table(["key", "state", "size", "licence", "what"], rows)


@models.command()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@shared_options("json")
def fetch(keys):
    """Download missing weights: those of KEY, or all that starting the server and /docs may need.

    KEY is one of the list, or `objects` for the object detector, which is otherwise downloaded on first use.
    """
    from recognizer.core.progress import Progress
    from recognizer.weights import manifest as weights

    folder, keys = state().settings().models_dir, _known(keys) or weights.BASIC
    with Progress() as progress:
        files = weights.fetch(keys, folder, progress.download)
    if state().json:
        emit({"models": dict(zip(keys, map(str, files), strict=True))})
    else:
        click.echo(f"weights are in {folder}: {', '.join(keys)}")


@models.command()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@shared_options("json")
def verify(keys):
    """Verify the hashes of the weights of KEY, or of all, ignoring earlier results.

    KEY is as for `fetch`. Without KEY, weights that a start does not need may be missing.
    """
    from recognizer.core.errors import ModelError
    from recognizer.weights import manifest as weights

    folder, results = state().settings().models_dir, []
    there = {each.asset.key for each in weights.status(folder) if each.state != "missing"}
    for key in _known(keys) or [key for key in weights.MANIFEST if key in there or key in weights.BASIC]:
        try:
            weights.verify(key, folder)
            results.append({"key": key, "state": "ready"})
        except ModelError as error:
            results.append({"key": key, "state": error.code, "message": error.message})
    if state().json:
        emit({"models": results})
    else:
        table(["key", "state"], [[each["key"], each["state"]] for each in results])
    for each in results:
        if "message" in each:
            say(f"error: {each['message']} [{each['state']}]")
    return 1 if any("message" in each for each in results) else None


def _known(keys: tuple[str, ...]) -> tuple[str, ...]:
    """The keys named, without duplicates; a group's name stands for its members."""
    from recognizer.weights import manifest as weights

    for key in keys:
        if key not in weights.MANIFEST and key not in weights.GROUPS:
            names = ", ".join((*weights.MANIFEST, *weights.GROUPS))
            raise click.BadParameter(f"{key!r} is none of {names}", param_hint="KEY")
    return tuple(dict.fromkeys(each for key in keys for each in weights.GROUPS.get(key, (key,))))


def _asset(status) -> dict:
    asset = status.asset
    return {
        "key": asset.key,
        "state": status.state,
        "file": asset.file,
        "bytes": asset.size,
        "sha256": asset.sha256,
        "licence": asset.licence,
        "what": asset.what,
    }


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"


@click.command()
@all_options
def settings():
    """List every setting with its current value and the value's source."""
    held, found = state().settings(), read_values()
    rows = []
    for item in SETTINGS:
        source = found[item.name].where if item.name in found else DEFAULT
        if item.name in state().overrides:
            source = "option"
        value = getattr(held, item.name)
        shown = "(set)" if item.metadata["secret"] and value else _shown(value)
        if item.name == "camera":
            shown = _camera(value)
        rows.append((PREFIX + item.name.upper(), shown, source, item.metadata["help"]))
    if state().json:
        keys = ("variable", "value", "source", "help")
        emit({"settings": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        table(["setting", "value", "from", "what it does"], rows)


def _camera(text: str) -> str:
    """A camera's source without its password."""
    from recognizer.core.errors import InvalidSource
    from recognizer.video.sources.source import parse_source

    try:
        return parse_source(text).shown
    except InvalidSource:
        return "(set)" if text != "none" else text


def _shown(value) -> str:
    """A value as the environment variable would hold it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else str(value)


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port to check.")
@all_options
def doctor(port):
    """Check the installation, and suggest how to fix what is wrong.

    Exit code 1 says that something is broken; a warning alone does not.
    """
    from recognizer import doctor as checks

    findings = checks.examine(state().overrides, port)
    broken = [finding for finding in findings if finding.state == checks.BROKEN]
    if state().json:
        emit({"ok": not broken, "checks": [finding.as_dict() for finding in findings]})
        return 1 if broken else None
    styles = [{checks.OK: "", checks.WARNING: "yellow", checks.BROKEN: "bold red"}[each.state] for each in findings]
    table(["check", "state", "found"], [[each.name, each.state, each.found] for each in findings], styles=styles)
    advice = [finding for finding in findings if finding.advice]
    click.echo()
    for finding in advice:
        click.echo(f"{finding.name}: {finding.advice}")
    if not advice:
        click.echo("Everything is in order.")
    return 1 if broken else None


COMMANDS = (models, settings, doctor)
