"""import: people and photos out of another service, or out of files."""

from __future__ import annotations

from pathlib import Path

import click

from recognizer.commands.common import emit, enrolment_options, group_options, group_service, plain, state
from recognizer.core.errors import InvalidParameter
from recognizer.core.progress import Progress
from recognizer.core.wording import plural

FAILED = 1
SOURCES = ("compreface", "deepstack", "azure", "rekognition", "double-take", "folders", "zip", "csv")


@click.command("import")
@click.argument("source", type=click.Choice(SOURCES), metavar="SOURCE")
@click.argument("place")
@click.option("--key", metavar="KEY", default="", help="The service's API key.")
@click.option("--key-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="File with the key.")
@click.option(
    "--photos",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Photos of the people that DeepStack, Azure or Rekognition knows: a folder for each. These services keep none.",
)
@enrolment_options
@group_options
def import_(source, place, key, key_file, photos, face, force):
    """Enrol people and photos from another service or from files.

    SOURCE is compreface, deepstack (also CodeProject.AI), azure, rekognition, double-take, folders, zip or csv; PLACE is the
    service's address, the address of a person group of Azure, the name of a collection of Rekognition, or the folder or file.
    Interrupted, it goes on where it was; what is enrolled already is not enrolled twice.
    """
    from recognizer.core.names import normalise
    from recognizer.enrolment.encodings import photo_id
    from recognizer.moving.incoming import import_photos

    if key_file is not None:
        try:
            key = key_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidParameter(f"the file with the key cannot be read: {type(error).__name__}") from None
    with group_service() as (made, group):
        incoming = _incoming(source, place, key, photos, made.settings.max_image_bytes)

        def enrol(name: str, photo: bytes) -> bool:
            subject, id = normalise(name), photo_id(photo)
            if any(each.photo == id and each.encoding.vector is not None for each in group.enrolment.entries_so_far(subject)):
                return False
            return group.subjects.enrol(subject, photo, face=face, force=force).new

        with Progress("importing photos", least=2) as progress:
            report = import_photos(incoming, enrol, progress.photos)
    if state().json:
        emit({"added": report.added, "known": report.known, "refused": report.refused})
    else:
        for each in report.refused:
            click.echo(plain(f"{each['subject']}: {each['photo']}: refused: {each['message']} [{each['code']}]"))
        click.echo(f"{plural(report.added, 'photo')} added, {report.known} enrolled before, {len(report.refused)} refused")
    return FAILED if report.refused else None


def _incoming(source: str, place: str, key: str, photos: Path | None, max_bytes: int) -> list:
    """The photos of a place."""
    from recognizer.moving import from_files, from_services

    if source == "compreface":
        return from_services.from_compreface(place, key, max_bytes)
    if source == "deepstack":
        return from_services.from_deepstack(place, key, photos, max_bytes)
    if source == "azure":
        return from_services.from_azure(place, key, photos, max_bytes)
    if source == "rekognition":
        return from_services.from_rekognition(place, photos, max_bytes)
    read = {
        "double-take": from_files.from_double_take,
        "folders": from_files.from_folders,
        "zip": from_files.from_zip,
        "csv": from_files.from_csv,
    }
    return read[source](Path(place), max_bytes)
