"""people: who is enrolled."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .common import common_options, emit, say, service, state, table


@click.group(invoke_without_command=True)
@click.pass_context
@common_options
def people(context):
    """List who is enrolled, and rename or erase them.

    Photos that are new in the folder are encoded first.
    """
    if context.invoked_subcommand is None:
        return _list()
    return None


@people.command("list")
@common_options
def list_():
    """List everybody with a folder in known_faces; what `people` alone does."""
    return _list()


def _list() -> None:
    from .. import replies

    with service() as made:
        everybody = [replies.person(person, photos=False) for person in made.subjects.all()]
        odd = made.subjects.odd_photos()
    for each in everybody if odd is not None else ():
        each["odd_photos"] = odd.get(each["name"], 0)
    if state().json:
        emit({"people": everybody})
    elif not everybody:
        click.echo("nobody is enrolled")
    else:
        heads = ("photos", "templates", "problems", "odd_photos")
        rows = [[each["name"], *(each.get(head, "?") for head in heads)] for each in everybody]
        table(["name", "photos", "in use", "problems", "odd"], rows)


@people.command()
@click.argument("name")
@common_options
def show(name):
    """List the photos of one person."""
    from .. import replies

    with service() as made:
        person = replies.person(made.subjects.person(name), photos=True)
    if state().json:
        emit(person)
        return
    click.echo(f"{person['name']}: {person['templates']} of {len(person['photos'])} photos in use")
    table(["file", "id", "state"], [[photo["file"], photo["id"] or "", _state(photo)] for photo in person["photos"]])


def _state(photo: dict) -> str:
    if "problem" in photo:
        return photo["problem"]["message"]
    warnings = photo.get("warnings", ())
    used = "not needed" if any(warning["code"] == "duplicate_of" for warning in warnings) else "in use"
    return "; ".join([f"{used}, {photo['width']}x{photo['height']}", *(_remark(warning) for warning in warnings)])


def _remark(warning: dict) -> str:
    if "distance" in warning:
        return f"{warning['message']} (distance {warning['distance']:.2f})"
    return f"{warning['message']} ({warning['photo']})"


@people.command()
@click.argument("old")
@click.argument("new")
@click.option("--merge", is_flag=True, help="Join OLD with NEW, who is enrolled already.")
@common_options
def rename(old, new, merge):
    """Give a person another name."""
    from .. import replies

    with service() as made:
        person = replies.person(made.subjects.rename(old, new, merge=merge), photos=False)
    if state().json:
        emit(person)
    else:
        click.echo(f"renamed to {person['name']}, who has {_count(person['photos'], 'photo')}")


@people.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
def delete(name, yes):
    """Erase a person: photos, encodings, thumbnails, events; and look that nothing is left."""
    from ..errors import SubjectNotFound

    with service() as made:
        try:
            person = made.subjects.person(name)
            name, question = person.name, f"Erase {person.name} with {_count(len(person.photos), 'photo')}?"
        except SubjectNotFound:  # no folder: there may be events
            question = f"Erase what is left about {name}?"
        if not yes and not _agreed(question):
            say("nothing was erased")
            return 1
        done = made.subjects.delete(name)
    if state().json:
        emit(done)
    else:
        click.echo(f"erased {done['deleted']} and {_count(done['photos'], 'photo')}; nothing is left")
    return None


@people.command("export")
@click.argument("name")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE", help="ZIP file to write.")
@common_options
def export_(name, to):
    """Write everything that is held about a person into a ZIP file: photos, templates, events, consent, audit log."""
    with service() as made:
        counts = made.subjects.export(name, to)
    if state().json:
        emit({"file": str(to), **counts})
    else:
        click.echo(f"wrote {to}: " + ", ".join(_count(number, what) for what, number in _singular(counts)))


def _singular(counts: dict[str, int]) -> list[tuple[str, int]]:
    words = {"photos": "photo", "thumbnails": "thumbnail", "event_pictures": "picture", "templates": "template",
             "events": "event", "audit": "audit line"}  # fmt: skip
    return [(words[what], number) for what, number in counts.items()]


@people.command()
@click.argument("name")
@click.option("--note", metavar="TEXT", help="What was agreed to, in your words; `none` takes it away.")
@click.option("--expires", metavar="DATE", help="Last day or time at which they may be recognised; `none` takes it away.")
@common_options
def consent(name, note, expires):
    """Show or note what a person agreed to, and until when."""
    from .. import replies

    with service() as made:
        asked = note is None and expires is None
        person = made.subjects.person(name) if asked else made.subjects.set_consent(name, note, expires)
        shown = replies.person(person, photos=False)
    if state().json:
        emit({key: shown[key] for key in ("name", "consent", "expires", "expired")})
    else:
        until = f"expires {shown['expires']}" if shown["expires"] else "does not expire"
        click.echo(f"{shown['name']}: {'EXPIRED, ' if shown['expired'] else ''}{until}; {shown['consent'] or 'no note'}")


@people.command()
@common_options
def problems():
    """List what in known_faces is not used, and why."""
    from .. import replies

    with service() as made:
        found = [replies.problem(problem) for problem in made.subjects.problems()]
    if state().json:
        emit({"problems": found})
    elif not found:
        click.echo("everything in known_faces is used")
    else:
        table(["file", "problem", "what to do"], [[each["file"], each["code"], each["message"]] for each in found])


def _agreed(question: str) -> bool:
    """Ask; no answer at all is a no."""
    click.echo(f"{question} [y/N]: ", err=True, nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
