"""audit: show the audit log and verify it."""

from __future__ import annotations

import re

import click

from recognizer.commands.common import emit, shared_options, state, table


def _log():
    from recognizer.core.vault import open_vault
    from recognizer.database.opening import open_audit

    settings = state().settings()
    vault = open_vault(settings.encryption_key, settings.encryption_key_file)
    return open_audit(settings.state_dir, vault, state().database())


@click.group()
@shared_options("json")
def audit():
    """Show and verify the audit log: who did what to whom, and when."""


@audit.command()
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Number of lines.")
@click.option("--subject", metavar="NAME", help="Only entries about this person, given by name or by the log's id.")
@click.option("--action", metavar="ACTION", help="Only these actions, separated by commas.")
@click.option("--actor", metavar="WHO", help="Only entries of this actor.")
@shared_options("json")
def show(limit, subject, action, actor):
    """Show the newest lines."""
    actions = None if action is None else {each.strip() for each in action.split(",")}
    log = _log()
    lines = log.page(
        None,
        limit,
        lambda line: (
            (actor is None or line["actor"] == actor)
            and (actions is None or line["action"] in actions)
            and (subject is None or subject in (line["subject"], line["name"]))
        ),
    )
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
@click.option("--head", metavar="NUMBER:HASH", help="A head that you noted elsewhere; it must be in the chain.")
@shared_options("json")
def verify(head):
    """Find lines that were changed, removed, added or reordered, and an end that is missing. Exit code 1 if there are any.

    Somebody who can write the log can recompute all of it, including its head: from time to time, note elsewhere the head that
    this command prints, and pass it to --head.
    """
    from recognizer.core.audit import require_whole

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
