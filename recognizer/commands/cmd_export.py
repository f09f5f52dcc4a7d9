"""export: events and results as tables."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from recognizer.commands.common import emit, plain, say, shared_options, state
from recognizer.core.disk import disk_errors


@click.command()
@click.argument("destination")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["parquet", "jsonl", "csv"]),
    default="parquet",
    show_default=True,
    help="File format.",
)
@click.option("--anew", is_flag=True, help="Export all events again, including those at the destination.")
@shared_options("json")
def export(destination, files, kind, anew):
    """Write events, or results of `recognize --json`, as tables to DESTINATION, one folder per day.

    DESTINATION is a folder or a URL that fsspec knows, such as s3://bucket/folder. FILE holds events as JSON Lines or what
    `recognize --json` wrote; - is the standard input. Without any FILE, the server's own events are exported: those that
    are not at DESTINATION yet.
    """
    from recognizer.events import exporting

    written = []
    if files:
        for name in files:
            what, rows = exporting.parse(_read(name), plain(name))
            if what == "events":
                written += exporting.export_events(rows, destination, kind, anew=anew)
            else:
                written += exporting.export_results(rows, destination, kind)
    else:
        written = exporting.export_events(_own_events(), destination, kind, anew=anew)
    if state().json:
        emit({"files": [{"file": each.file, "rows": each.rows} for each in written]})
        return
    for each in written:
        click.echo(f"{plain(each.file)}: {each.rows} rows")
    if not written:
        say("nothing new to export")


def _own_events() -> list[dict]:
    """The events in the state folder. A server may be writing there at the same time."""
    from recognizer.core.vault import open_vault
    from recognizer.events.event_sealing import read_all

    settings = state().settings()
    return read_all(settings.state_dir / "events", open_vault(settings.encryption_key, settings.encryption_key_file))


def _read(name: str) -> bytes:
    with disk_errors(f"{plain(name)} cannot be read"):
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


COMMANDS = (export,)
