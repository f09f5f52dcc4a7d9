"""group: a folder of photos, sorted by who is on them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..errors import StorageError, UnreadableImage
from ..progress import Progress
from .common import common_options, emit, plain, say, service, state

_SHOWN = 20


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Folder of groups.json and index.html; NAME-groups in the current folder if not given.",
)
@click.option(
    "--thumbnails", type=click.IntRange(1, 10_000), default=24, show_default=True, metavar="N",
    help="Pictures of each person on the page, at most.",
)
@click.option("--fresh", is_flag=True, help="Look at all photos again, and number the groups anew.")
@common_options
def group(folder, out, thumbnails, fresh):
    """Sort the photos in DIR and below by who is on them.

    Writes a page with everybody's faces, and JSON. People who are enrolled are named. A run that was interrupted goes on
    where it was, and a later one looks only at new photos; groups keep their numbers.
    """
    from .. import archive, clustering, contact_sheet, matching
    from ..encodings import EncodingsCache
    from ..evaluation.encode import Source

    out = out or Path(f"{folder.resolve().name or 'photos'}-groups")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{out} cannot be used: {(error.strerror or '').lower()}") from None
    page, data = out / "index.html", out / "groups.json"
    with service() as made:
        wanted, points = made.settings, made.engine.info.calibration
        source = Source(
            made.engine, made.enrolment.recipe, max_bytes=wanted.max_image_bytes, max_pixels=wanted.max_image_pixels,
            workers=made.pool.workers,
        )  # fmt: skip
        cache = EncodingsCache(wanted.state_dir / "archive.sqlite", made.vault)
        try:
            with Progress("looking at photos", least=2) as progress:
                looked = archive.Archive(folder, source, cache).look(progress.photos, fresh=fresh)
            if not looked.paths and not looked.refused:
                raise UnreadableImage(f"there is no photo in {folder}")
            before = {} if fresh else _before(data, source.key)
            curve = matching.Curve(points.distances, points.rates)
            groups = archive.group(looked.fit, before, lambda faces: clustering.limit_for(faces, curve.distance))
            people = archive.people(groups, looked, made.matcher.match)
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
    from ..archive import Key

    try:
        kept = json.loads(data.read_bytes())
        groups = {int(id_): [Key.of(each) for each in faces] for id_, faces in kept["groups"].items()}
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
        emit({
            "photos": photos, "faces": len(looked.faces), "people": len(people), "on_several": several,
            "named": [each.subject for each in people if each.subject is not None], "without_faces": len(looked.faceless),
            "not_grouped": len(looked.faces) - sum(len(each.faces) for each in people),
            "refused": [{"photo": str(e.path), "code": e.code, "message": e.message} for e in looked.refused],
            "page": str(page), "json": str(data),
        })  # fmt: skip
        return
    for each in looked.refused[:_SHOWN]:
        say(f"{plain(str(each.path))}: {each.message} [{each.code}]")
    if len(looked.refused) > _SHOWN:
        say(f"and {len(looked.refused) - _SHOWN} more; {plain(str(page))} has them all")
    click.echo(f"{photos} photos, {len(looked.faces)} faces, {len(people)} people, {several} of them on several photos")
    click.echo(f"{plain(str(page))} shows them")


COMMANDS = (group,)
