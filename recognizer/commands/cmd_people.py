"""people: who is enrolled."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from recognizer.commands.common import emit, group_options, group_service, plain, say, state, table
from recognizer.core.wording import plural


@click.group(invoke_without_command=True)
@click.pass_context
@group_options
def people(context):
    """List, rename, merge and erase enrolled people.

    Photos that are new in the folder are encoded first.
    """
    if context.invoked_subcommand is None:
        return _list()
    return None


@people.command("list")
@group_options
def list_():
    """List everybody with a folder in known_faces. The default of `people`."""
    return _list()


def _list() -> None:
    from recognizer.http import replies

    with group_service() as (_, group):
        everybody = [replies.person(person, photos=False, group=state().group) for person in group.subjects.all()]
        odd = group.subjects.odd_photos()
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
@group_options
def show(name):
    """List the photos of one person."""
    from recognizer.http import replies

    with group_service() as (_, group):
        person = replies.person(group.subjects.person(name), photos=True, group=state().group)
    if state().json:
        emit(person)
        return
    click.echo(f"{person['name']}: {person['templates']} of {plural(len(person['photos']), 'photo')} in use")
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
@click.option("--merge", is_flag=True, help="Merge OLD into NEW, who is enrolled already.")
@group_options
def rename(old, new, merge):
    """Give a person another name."""
    from recognizer.http import replies

    with group_service() as (_, group):
        person = replies.person(group.subjects.rename(old, new, merge=merge), photos=False, group=state().group)
    if state().json:
        emit(person)
    else:
        click.echo(f"renamed to {person['name']}, who has {_count(person['photos'], 'photo')}")


@people.command()
@click.argument("source")
@click.argument("target")
@group_options
def merge(source, target):
    """Move all photos of SOURCE to TARGET: both are one person, who keeps the name TARGET.

    The same as `rename SOURCE TARGET --merge`, except that TARGET must be enrolled.
    """
    from recognizer.http import replies

    with group_service() as (_, group):
        target = group.subjects.person(target).name
        person = replies.person(group.subjects.rename(source, target, merge=True), photos=False, group=state().group)
    if state().json:
        emit(person)
    else:
        click.echo(f"merged into {person['name']}, who has {_count(person['photos'], 'photo')}")


@people.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@group_options
def delete(name, yes):
    """Erase a person: photos, templates, thumbnails and events; then check that nothing is left."""
    from recognizer.core.errors import SubjectNotFound

    with group_service() as (_, group):
        try:
            person = group.subjects.person(name)
            name, question = person.name, f"Erase {person.name} with {_count(len(person.photos), 'photo')}?"
        except SubjectNotFound:  # no folder: there may be events
            question = f"Erase what is left about {name}?"
        if not (yes or confirmed(question, otherwise="nothing was erased")):
            return 1
        done = group.subjects.delete(name)
    if state().json:
        emit(done)
    else:
        click.echo(f"erased {done['deleted']} and {_count(done['photos'], 'photo')}; nothing is left")
    return None


@people.command("export")
@click.argument("name")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE", help="ZIP file to write.")
@group_options
def export_(name, to):
    """Write everything that is stored about a person into a ZIP file: photos, templates, events, consent, audit log."""
    with group_service() as (_, group):
        counts = group.subjects.export(name, to)
    if state().json:
        emit({"file": str(to), **counts})
    else:
        click.echo(f"wrote {to}: " + ", ".join(_count(number, what) for what, number in _singular(counts)))


def _singular(counts: dict[str, int]) -> list[tuple[str, int]]:
    words = {
        "photos": "photo",
        "thumbnails": "thumbnail",
        "event_pictures": "picture",
        "templates": "template",
        "events": "event",
        "audit": "audit line",
        "identity": "id",
    }
    return [(words[what], number) for what, number in counts.items()]


@people.command()
@click.argument("name")
@click.option("--note", metavar="TEXT", help="What the person agreed to, in your words; `none` removes the note.")
@click.option("--expires", metavar="DATE", help="Last day or time at which the person may be recognised; `none` removes it.")
@group_options
def consent(name, note, expires):
    """Show or set a person's consent and its expiry."""
    from recognizer.http import replies

    with group_service() as (_, group):
        asked = note is None and expires is None
        person = group.subjects.person(name) if asked else group.subjects.set_consent(name, note, expires)
        shown = replies.person(person, photos=False, group=state().group)
    if state().json:
        emit({key: shown[key] for key in ("name", "consent", "expires", "expired")})
    else:
        until = f"expires {shown['expires']}" if shown["expires"] else "does not expire"
        click.echo(f"{shown['name']}: {'EXPIRED, ' if shown['expired'] else ''}{until}; {shown['consent'] or 'no note'}")


@people.command()
@group_options
def problems():
    """List the unused files in known_faces, and why they are not used."""
    from recognizer.http import replies

    with group_service() as (_, group):
        found = [replies.problem(problem) for problem in group.subjects.problems()]
    if state().json:
        emit({"problems": found})
    elif not found:
        click.echo("everything in known_faces is used")
    else:
        table(["file", "problem", "what to do"], [[each["file"], each["code"], each["message"]] for each in found])


@people.command("use-largest")
@click.argument("name", required=False)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@group_options
def use_largest(name, yes):
    """Let photos that show several people enrol their largest face: those of NAME, or everybody's.

    The photos are renamed from `x.jpg` to `x.largest.jpg`. Check first that the largest face on each is the person's own.
    """
    with group_service() as (_, group):
        waiting = [each for each in group.subjects.problems() if each.code == "several_faces"]
        if name is not None:
            name = group.subjects.person(name).name
            waiting = [each for each in waiting if each.subject == name]
        if waiting and not yes:
            for each in waiting:
                say(plain(each.path))
            question = f"Enrol the largest face of {_count(len(waiting), 'photo')}?"
            if not confirmed(question, otherwise="nothing was changed"):
                return 1
        done = group.subjects.use_largest(name)
    if state().json:
        emit(done)
    else:
        renamed, unused = len(done["renamed"]), len(done["unused"])
        click.echo(f"{_count(renamed, 'photo')} renamed, {renamed - unused} of them in use")
    return None


def confirmed(question: str, otherwise: str) -> bool:
    """Ask for confirmation; no answer means no, and then `otherwise` is printed."""
    click.echo(f"{question} [y/N]: ", err=True, nl=False)
    confirmed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not confirmed:
        say(otherwise)
    return confirmed


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
