"""database: the PostgreSQL database that nodes share."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from recognizer.commands.common import emit, plain, say, service, shared_options, state, table
from recognizer.core.errors import NotEmpty, SettingsError
from recognizer.core.times import iso_time
from recognizer.core.wording import plural


@click.group()
@shared_options("json")
def database():
    """Create and maintain the database that several servers share (RECOGNIZER_DATABASE_URL).

    docs/scale.md describes such an installation.
    """


def _database():
    found = state().database()
    if found is None:
        raise SettingsError("database_url: expected the database, for example postgresql://user:password@host/name")
    return found


@database.command()
@shared_options("json")
def init():
    """Create the tables in an empty database. Its user must be allowed to create the extension pgvector."""
    from recognizer.database import schema

    if schema.version(_database()) is not None:
        raise NotEmpty("the database has the tables already; `database migrate` brings them up to date")
    _migrated()


@database.command()
@shared_options("json")
def migrate():
    """Bring the tables up to date after an update. Stop all nodes first: an earlier version misreads new tables."""
    from recognizer.database import schema

    if schema.version(_database()) is None:
        raise SettingsError("the database has no tables yet; `database init` creates them")
    _migrated()


def _migrated() -> None:
    from recognizer.database import schema

    before, after = schema.migrate(_database())
    if state().json:
        emit({"before": before, "after": after})
    elif before == after:
        click.echo(f"the tables are current: version {after}")
    else:
        click.echo(f"the tables are of version {after} now" + (f", before {before}" if before else ""))


@database.command()
@shared_options("json")
def status():
    """Show the version of the tables, what is stored, and the nodes.

    `waits` is the number of erasures and renamings that a node has not done yet in what it stores for itself.
    """
    from recognizer.database import nodes, schema

    held = _database()
    schema.require_current(held)
    common = schema.installation(held)
    groups, people, photos, templates, orphans, last = held.rows(
        "select (select count(*) from people_group), (select count(*) from subject), (select count(*) from photo), "
        "(select count(*) from template), "
        "(select count(*) from orphan), (select coalesce(max(seq), 0) from change)"
    )[0]
    found = nodes.everyone(held)
    if state().json:
        emit(
            {
                "version": schema.version(held),
                "engine": common and common.engine,
                "encrypted": common is not None and common.sealed_by is not None,
                "groups": groups,
                "people": people,
                "photos": photos,
                "templates": templates,
                "photos_to_remove": orphans,
                "last_change": last,
                "nodes": [
                    {
                        "id": each.id,
                        "name": each.name,
                        "version": each.version,
                        "seen": iso_time(each.seen),
                        "applied": each.applied,
                        "waits": each.work,
                        "url": each.url,
                        "cameras": each.cameras,
                    }
                    for each in found
                ],
            }
        )
        return
    counted = [plural(people, "person", "people"), plural(photos, "photo"), plural(templates, "template")]
    click.echo(", ".join([*counted, *([f"in {groups} groups"] if groups > 1 else [])]))
    click.echo(f"engine: {common.engine if common else 'none yet'}; the last change has the number {last}")
    rows = [[each.id, each.name, each.version, _ago(each.seen), each.applied, each.work, each.cameras] for each in found]
    table(["node", "machine", "version", "seen", "change", "waits", "cameras"], rows)


def _ago(seconds: float) -> str:
    return f"{time.time() - seconds:.0f} s ago"


@database.command()
@click.argument("node")
@shared_options("json")
def forget(node):
    """Forget the node with the id NODE, which will not come back.

    What waits for it is forgotten too: erase its state folder.
    """
    from recognizer.database import nodes

    if not nodes.forget(_database(), node):
        raise click.BadParameter(f"there is no node {node!r}", param_hint="NODE")
    if state().json:
        emit({"forgotten": node})
    else:
        click.echo(f"{plain(node)} is forgotten; erase its state folder")


@database.command()
@shared_options("json", "folder", "engine")
def load():
    """Enrol everybody of known_faces and its groups in the database, and add the cameras and rules of the state folder.

    The settings of these cameras are added too, and, if none are there yet, the receivers of events and the browsers that get
    notifications. What is there already is left out, so it may be repeated.
    """
    from recognizer.commands.loading import load_all
    from recognizer.service import make_service

    settings = state().settings()
    _database()
    state().overrides["database_url"] = ""  # the folder, as a single server has it
    with service() as source:
        made = make_service(settings.replace(watch=False))
        try:
            made.start()
            loaded = load_all(source, made, settings.max_image_bytes)
            if loaded.photos:
                made.audit.append("database_load", people=loaded.people, photos=loaded.photos)
        finally:
            made.close()
    if state().json:
        emit(asdict(loaded))
        return
    enrolled = f"{plural(loaded.people, 'person', 'people')} with {plural(loaded.photos, 'photo')}"
    click.echo(f"{enrolled} were enrolled in the database")
    if loaded.cameras:
        click.echo(f"{plural(loaded.cameras, 'camera')} were added")
    if loaded.rules:
        click.echo(f"{plural(loaded.rules, 'rule')} were added")
    if loaded.receivers:
        click.echo(f"{plural(loaded.receivers, 'setting')} of where events are sent were added")
    if loaded.browsers:
        click.echo(f"{plural(loaded.browsers, 'browser')} that get notifications were added")
    if loaded.problems:
        say(f"{plural(loaded.problems, 'file')} cannot be used; `people problems` lists them")


@database.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@shared_options("json", "engine")
def dump(folder):
    """Write everybody into FOLDER, as a known_faces folder that one server can use. It must be empty, or not exist.

    Groups are written into FOLDER/.groups. With an encryption key, the files are encrypted. Keys, sessions, settings,
    rules, cameras, receivers of events and the audit log are not written: `backup` writes them.
    """
    from recognizer.core import names

    _database()
    if folder.exists() and any(folder.iterdir()):
        raise NotEmpty(f"{folder.name} is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    people = photos = 0
    with service(started=False) as made:
        most = state().settings().max_image_bytes
        for name in made.groups.names():
            place = folder if name == names.DEFAULT_GROUP else folder / names.GROUPS_FOLDER / name
            here, files = _dump_group(made.groups.get(name), made.groups.known_identity(name), place, made.vault, most)
            people, photos = people + here, photos + files
        made.audit.append("database_dump", people=people, photos=photos)
    if state().json:
        emit({"people": people, "photos": photos})
    else:
        click.echo(f"{plural(people, 'person', 'people')} with {plural(photos, 'photo')} are in {plain(str(folder))}")


def _dump_group(group, identity, folder, vault, most) -> tuple[int, int]:
    """Write the people of a group into a folder; how many people and photos."""
    from recognizer.core import identity as identities
    from recognizer.enrolment import template_file
    from recognizer.enrolment.folder import KnownFaces
    from recognizer.enrolment.photo_marks import marks
    from recognizer.enrolment.subject_files import write_identity

    folder.mkdir(parents=True, exist_ok=True)
    if identity is not None:
        write_identity(folder / identities.GROUP_FILE, identity, vault, identities.GROUP)
    target, enrolment, photos = KnownFaces(folder, vault), group.enrolment, 0
    everybody = enrolment.folder_names()
    for name in everybody:
        target.make_folder(name)
        for entry in enrolment.entries_so_far(name):
            extension = entry.path.rpartition(".")[2]
            if extension == template_file.EXTENSION:
                data = template_file.written(entry.encoding)
            else:
                data = enrolment.read(entry.path, most)
            target.add(name, entry.photo + marks(entry.encoding.face), extension, data)
            photos += 1
        consent, person, about = enrolment.consent(name), group.ids.known(name), enrolment.particulars(name)
        if consent:
            target.set_consent(name, consent)
        if person is not None:
            target.set_identity(name, person)
        if about:
            target.set_particulars(name, about)
    return len(everybody), photos


COMMANDS = (database,)
