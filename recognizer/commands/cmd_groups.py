"""groups: galleries besides known_faces."""

from __future__ import annotations

import click

from recognizer.commands.cmd_people import confirmed
from recognizer.commands.common import all_options, emit, service, state, table
from recognizer.core.wording import plural


@click.group(invoke_without_command=True)
@click.pass_context
@all_options
def groups(context):
    """List, make and delete groups of people.

    A group is a folder of people of its own. `recognize`, `enroll`, `people` and others take it by --group.
    """
    if context.invoked_subcommand is None:
        return _list()
    return None


@groups.command("list")
@all_options
def list_():
    """List all groups. The default of `groups`."""
    return _list()


def _list() -> None:
    from recognizer.http import replies

    with service() as made:
        found = [replies.group(made.groups.get(name)) for name in made.groups.names()]
    if state().json:
        emit({"groups": found})
    else:
        heads = ("name", "people", "templates", "problems")
        table(["name", "people", "in use", "problems"], [[each[head] for head in heads] for each in found])


@groups.command()
@click.argument("name")
@all_options
def add(name):
    """Make a group."""
    from recognizer.http import replies

    with service(started=False) as made:
        group = made.groups.add(name)
        shown, place = replies.group(group), group.enrolment.place
    if state().json:
        emit(shown)
    else:
        click.echo(f"made {shown['name']}: its people are the folders in {place}")


@groups.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@all_options
def delete(name, yes):
    """Erase everybody in a group, and the group."""
    with service(started=False) as made:
        group = made.groups.get(name)
        people = plural(len(group.enrolment.names()), "person", "people")
        if not (yes or confirmed(f"Erase the group {group.name} with {people}?", otherwise="nothing was erased")):
            return 1
        done = made.groups.delete(group.name)
    if state().json:
        emit(done)
    else:
        click.echo(f"erased {done['deleted']} with {people} and {plural(done['photos'], 'photo')}; nothing is left")
    return None
