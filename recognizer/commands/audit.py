"""audit: what was done, and whether the log of it is whole."""

from __future__ import annotations

import re

import click

from .common import common_options, emit, state, table


def _log():
    from ..audit import AuditLog
    from ..vault import open_vault

    settings = state().settings()
    vault = open_vault(settings.encryption_key, settings.encryption_key_file)
    return AuditLog(settings.state_dir / "audit", vault)


@click.group()
@common_options
def audit():
    """Show and verify the log of who did what to whom and when."""


@audit.command()
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many of the newest lines.")
@click.option("--subject", metavar="NAME", help="Only what is about this person; an id of the log will do.")
@click.option("--action", metavar="ACTION", help="Only this, or these, separated by commas.")
@click.option("--actor", metavar="WHO", help="Only what they did.")
@common_options
def show(limit, subject, action, actor):
    """Show the newest lines."""
    actions = None if action is None else {each.strip() for each in action.split(",")}
    log = _log()
    lines = log.page(
        None, limit,
        lambda line: (actor is None or line["actor"] == actor)
        and (actions is None or line["action"] in actions)
        and (subject is None or subject in (line["subject"], line["name"])),
    )  # fmt: skip
    if state().json:
        emit({"lines": lines, "head": log.head()})
        return
    rows = [_row(line) for line in lines]
    table(["line", "time", "who", "what", "to whom", "details"], rows)


def _row(line: dict) -> list:
    whom = line["name"] or line["subject"] or ""
    return [line["seq"], line["time"], line["actor"], line["action"], whom, _shown(line["details"])]


def _shown(details: dict) -> str:
    return ", ".join(f"{name}={value}" for name, value in details.items() if value is not None)


@audit.command()
@click.option("--head", metavar="NUMBER:HASH", help="A head that was noted elsewhere, which has to be in the chain.")
@common_options
def verify(head):
    """Find lines that were changed, removed, added or reordered, and an end that is missing. Exit code 1 if there are any.

    Whoever can write the log can also compute all of it anew, with its head: note the head that this prints elsewhere from
    time to time, and give it to --head.
    """
    from ..audit import require_whole

    noted = None
    if head is not None:
        match = re.fullmatch(r"(\d+):([0-9a-f]{64})", head.strip().lower())
        if not match:
            raise click.BadParameter("expected NUMBER:HASH, as this command prints it", param_hint="--head")
        noted = int(match[1]), match[2]
    found = _log().verify(noted)
    if state().json and not found.problems:
        emit({"lines": found.lines, "head": {"seq": found.last, "hash": found.hash}, "problems": []})
    require_whole(found)
    if not state().json:
        click.echo(f"{found.lines} lines, all as they were written; head {found.last}:{found.hash}")


COMMANDS = (audit,)
