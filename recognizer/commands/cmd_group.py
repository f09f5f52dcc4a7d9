"""group: sort a folder of photos by person."""

from __future__ import annotations

import json
from pathlib import Path

import click

from recognizer.commands.common import all_options, emit, plain, say, service, state
from recognizer.core.disk import storage_error
from recognizer.core.errors import UnreadableImage
from recognizer.core.progress import Progress
from recognizer.core.wording import plural

_SHOWN = 20


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for groups.json and index.html; by default NAME-groups in the current folder.",
)
@click.option(
    "--thumbnails",
    type=click.IntRange(1, 10_000),
    default=24,
    show_default=True,
    metavar="N",
    help="Maximum number of pictures of each person on the page.",
)
@click.option("--fresh", is_flag=True, help="Process all photos again, and number the groups from the start.")
@all_options
def group(folder, out, thumbnails, fresh):
    """Sort the photos in DIR and below by person.

    Writes a page with everybody's faces, and JSON. Enrolled people are named. An interrupted run continues where it
    stopped, and a later one processes only new photos; groups keep their numbers.
    """
    from recognizer.archive import contact_sheet, group_names, photo_groups
    from recognizer.archive.photo_index import PhotoArchive
    from recognizer.enrolment.bulk import BulkSettings
    from recognizer.enrolment.cache import EncodingsCache
    from recognizer.galleries import clustering, thresholds

    out = out or Path(f"{folder.resolve().name or 'photos'}-groups")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(f"{out} cannot be used", error) from None
    page, data = out / "index.html", out / "groups.json"
    with service() as made:
        wanted, points = made.settings, made.engine.info.calibration
        source = BulkSettings(
            made.engine,
            made.enrolment.options.recipe,
            max_bytes=wanted.max_image_bytes,
            max_pixels=wanted.max_image_pixels,
            workers=made.pool.workers,
        )
        cache = EncodingsCache(wanted.state_dir / "archive.sqlite", made.vault)
        try:
            with Progress("looking at photos", least=2) as progress:
                looked = PhotoArchive(folder, source, cache).index(progress.photos, fresh=fresh)
            if not looked.paths and not looked.refused:
                raise UnreadableImage(f"there is no photo in {folder}")
            before = {} if fresh else _before(data, source.key)
            curve = thresholds.Curve(points.distances, points.rates)
            limit = lambda faces: clustering.limit_for(faces, curve.distance)  # noqa: E731
            groups = photo_groups.group_faces(looked.vectors, before, limit, made.engine.crowded)
            rate = made.matcher.stranger_rate
            people = photo_groups.name_groups(
                groups, looked, lambda faces: group_names.names_of(faces, made.gallery, curve, rate, made.engine.crowded)
            )
            about = {"folder": str(folder.resolve()), "engine": source.key, "limit": round(groups.limit, 4)}
            title = f"{folder.resolve().name} by person"
            with Progress("writing the page", least=200) as progress:
                contact_sheet.write_page(page, looked, people, title, cache.thumbnail, thumbnails, progress.photos)
            kept = {str(id_): [str(key) for key in groups.faces(id_)] for id_ in groups.groups()}
            contact_sheet.write_json(data, looked, people, {**about, "groups": kept})
        finally:
            cache.close()
    _tell(looked, people, page, data)


def _before(data: Path, key: str) -> dict:
    """The groups of an earlier run by the same engine, if there was one."""
    from recognizer.archive.photo_index import FaceKey

    try:
        kept = json.loads(data.read_bytes())
        groups = {int(id_): [FaceKey.parse(each) for each in faces] for id_, faces in kept["groups"].items()}
        return groups if kept["engine"] == key else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        say(f"{plain(str(data))} cannot be read: groups are numbered anew")
        return {}


def _tell(looked, people, page: Path, data: Path) -> None:
    photos = sum(map(len, looked.paths.values()))
    several = sum(len(each.faces) > 1 for each in people)
    if state().json:
        emit(
            {
                "photos": photos,
                "faces": len(looked.faces),
                "people": len(people),
                "on_several": several,
                "named": [each.subject for each in people if each.subject is not None],
                "without_faces": len(looked.faceless),
                "not_grouped": len(looked.faces) - sum(len(each.faces) for each in people),
                "refused": [{"photo": str(e.path), "code": e.code, "message": e.message} for e in looked.refused],
                "other_files": looked.other_files,
                "page": str(page),
                "json": str(data),
            }
        )
        return
    for each in looked.refused[:_SHOWN]:
        say(f"{plain(str(each.path))}: {each.message} [{each.code}]")
    if len(looked.refused) > _SHOWN:
        say(f"and {len(looked.refused) - _SHOWN} more; {plain(str(page))} has them all")
    if looked.other_files:
        say(f"{looked.other_files} other file{' is no photo' if looked.other_files == 1 else 's are no photos'}")
    faces, found = plural(len(looked.faces), "face"), plural(len(people), "person", "people")
    click.echo(f"{plural(photos, 'photo')}, {faces}, {found}, {several} of them on several photos")
    click.echo(f"{plain(str(page))} shows them")


COMMANDS = (group,)
