"""rules: what happens when people come or go at the cameras."""

from __future__ import annotations

import click

from recognizer.commands.common import emit, shared_options, state, table


@click.group(invoke_without_command=True)
@click.pass_context
@shared_options("json")
def rules(context):
    """List the rules: what happens when people come or go at the cameras.

    They are made and changed on the page, or over HTTP.
    """
    if context.invoked_subcommand is None:
        return _list()
    return None


@rules.command("list")
@shared_options("json")
def list_():
    """List all rules. The default of `rules`."""
    return _list()


def _list() -> None:
    from recognizer.core.vault import open_vault
    from recognizer.database import schema
    from recognizer.rules.rule_file import RULES_FILE, RuleFile
    from recognizer.rules.rule_model import shown
    from recognizer.rules.rule_table import RuleTable

    settings = state().settings()
    vault = open_vault(settings.encryption_key, settings.encryption_key_file)
    database = state().database()
    if database is not None:
        schema.require_current(database)
    store = RuleFile(settings.state_dir / RULES_FILE, vault) if database is None else RuleTable(database, vault)
    found = store.all()
    if state().json:
        emit({"rules": [{**shown(each), "sentence": each.sentence({})} for each in found]})
    elif not found:
        click.echo("there are no rules")
    else:
        table(["id", "on", "rule"], [[each.id, "yes" if each.enabled else "no", each.sentence({})] for each in found])
