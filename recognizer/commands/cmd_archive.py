"""archive: folders of photos, indexed once, and searched by face."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import click

from recognizer.commands.common import all_options, emit, plain, say, service, shared_options, state, table
from recognizer.core.disk import disk_errors
from recognizer.core.errors import InvalidParameter, NoFace
from recognizer.core.wording import plural

FAILED = 1
_SHOWN = 20


@click.group()
def archive():
    """Folders of photos: index them once, then find people in them.

    The photos are only read. `group` sorts one folder by person without keeping an index.
    """


@archive.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--later", is_flag=True, help="Only add the folder; the next update reads its photos.")
@all_options
def add(folder, later):
    """Add the folder DIR, and read its photos.

    An interrupted command loses nothing: `archive update` continues.
    """
    with service() as made:
        added = made.archive.add_folder(folder)
        made.audit.append("archive_folder_add", folder=added.id)
        report = None if later else _updated(made, [added.id])
    _tell({"folder": added.id, "path": added.path}, report)


@archive.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="[DIR]", required=False)
@all_options
def update(folder):
    """Read what is new or changed in all folders, or in DIR, and forget what was deleted there.

    A folder that is missing, or suddenly empty, keeps its index. An interrupted update loses nothing: the next one continues.
    """
    with service() as made:
        only = None if folder is None else [made.archive.folder_at(folder).id]
        report = _updated(made, only)
    _tell({}, report)


@archive.command(name="list")
@shared_options("json", "folder", "engine")
def list_folders():
    """List the folders and how much is known of them."""
    with service(started=False) as made:
        folders = made.archive.folders()
        status = made.archive.status()
        problems = made.archive.file.problems() if made.archive.exists else []
    if state().json:
        shown = [{"id": e.id, "path": e.path, "state": e.state, "added": e.added, "seen": e.seen} for e in folders]
        bad = [{"photo": path, "code": code, "message": message} for path, code, message in problems]
        emit({"folders": shown, "status": status, "problems": bad})
        return
    if not folders:
        click.echo("no folders")
        return
    table(["id", "state", "folder"], [[each.id, each.state, each.path] for each in folders])
    counts = status or {}
    click.echo(
        f"{plural(counts['photos'], 'photo')}, {plural(counts['faces'], 'face')}, "
        f"{plural(counts['people'], 'person', 'people')}, {counts['named']} named, {counts['suggested']} suggested"
    )
    for path, code, message in problems[:_SHOWN]:
        say(f"{plain(path)}: {message} [{code}]")
    if len(problems) > _SHOWN:
        say(f"and {len(problems) - _SHOWN} more; --json has them all")


@archive.command()
@click.argument("folder", metavar="DIR|ID")
@shared_options("json", "folder", "engine")
def remove(folder):
    """Remove a folder from the index, by its path or id. No photo is changed or deleted."""
    with service(started=False) as made:
        found = made.archive.folder(int(folder)) if folder.isdigit() else made.archive.folder_at(Path(folder))
        made.archive.remove_folder(found.id)
        made.audit.append("archive_folder_remove", folder=found.id)
    if state().json:
        emit({"removed": found.id, "path": found.path})
    else:
        click.echo(f"{plain(found.path)} is no longer in the archive")


@archive.command()
@click.option("--photo", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE", help="Whoever is on it.")
@click.option("--box", metavar="L,T,R,B", help="Which face of the photo: a box in its pixels; by default the largest face.")
@click.option("--person", metavar="NAME", help="Somebody who is enrolled, or named in the archive.")
@click.option("--group-id", type=int, metavar="ID", help="A group of the archive.")
@click.option("--from", "since", metavar="DAY", help="Only photos taken on this day or later: 2026-07-31, 2026-07 or 2026.")
@click.option("--to", "until", metavar="DAY", help="Only photos taken on this day or earlier.")
@click.option("--folder", metavar="DIR", help="Only photos in this folder of the archive, or below it.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, metavar="N", help="Most faces.")
@click.option("--max-distance", type=click.FloatRange(0, 4), metavar="X", help="Largest distance of a face.")
@click.option("--copy-to", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Copy the photos into DIR.")
@click.option("--symlink", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Link the photos in DIR.")
@all_options
def search(photo, box, person, group_id, since, until, folder, limit, max_distance, copy_to, symlink):
    """Find everything that shows somebody, nearest first.

    Exactly one of --photo, --person and --group-id says who.
    """
    from recognizer.http import archive_replies
    from recognizer.service.archive_search import probes_for
    from recognizer.service.archive_service import Wanted

    if sum(each is not None for each in (photo, person, group_id)) != 1:
        raise click.UsageError("expected one of --photo, --person and --group-id")
    with service() as made:
        data = None if photo is None else photo.read_bytes()
        probes, people = probes_for(made, data, box, person, group_id)
        if not len(probes):
            raise NoFace("there is no template to compare with")
        wanted = Wanted(since, until, folder, max_distance, limit)
        found = made.archive.find(probes, wanted, people)
        shown = archive_replies.found(made.archive, found, whole_paths=True)
        for target, linked in ((copy_to, False), (symlink, True)):
            if target is not None:
                shown["linked" if linked else "copied"] = _hand_out(found, target, linked)
    if state().json:
        emit(shown)
        return
    rows = [
        [
            each["distance"],
            each["taken"] or "",
            each["subject"] or "",
            (each["files"] or ["(not there)"])[0] + _at(each["time_s"]),
        ]
        for each in shown["faces"]
    ]
    table(["distance", "taken", "name", "photo"], rows)
    say(f"{plural(len(rows), 'face')} of {shown['total']}, up to a distance of {shown['max_distance']}")


@archive.command("import-names")
@click.option("--apply", is_flag=True, help="Name the groups; without it, only say what would be done.")
@all_options
def import_names(apply):
    """Name people by the face regions that photo programs wrote.

    Reads the photos' metadata, XMP sidecars and Picasa's .picasa.ini: digiKam's, Lightroom's, Picasa's, Microsoft's and others'
    regions. Needs ExifTool. Changes nothing but the index, and that only with --apply.
    """
    from recognizer.archive import photo_names
    from recognizer.core.progress import Progress

    with service(started=False) as made, Progress("reading metadata", least=2) as progress:
        report = photo_names.import_names(made.archive.file, progress.photos, dry_run=not apply)
        if apply:
            made.audit.append("archive_import_names", groups=report.named, faces=report.moved)
    if state().json:
        shown = {**vars(report), "names": dict(report.names), "applied": apply}
        emit({**shown, "unmatched": [{"photo": path, "name": name} for path, name in report.unmatched]})
        return
    click.echo(
        f"{plural(report.regions, 'named region')} on {plural(report.photos, 'photo')}, {report.matched} of them on a face; "
        f"{plural(len(report.names), 'name')}"
    )
    click.echo(f"{plural(report.named, 'group')} {'named' if apply else 'to be named'}, {plural(report.moved, 'face')} moved")
    for group, held, other in report.conflicts[:_SHOWN]:
        say(plain(f"group {group} is named {held}; its photos say {other}"))
    for path, name in report.unmatched[:_SHOWN]:
        say(plain(f"{path}: no face where {name} should be"))
    if not apply:
        say("nothing was changed: --apply does it")


@archive.command("export-names")
@click.option("--into-files", is_flag=True, help="Write into the photos themselves instead of sidecars.")
@click.option("--short-sidecars", is_flag=True, help="Name new sidecars photo.xmp instead of photo.jpg.xmp.")
@click.option("--only-decided", is_flag=True, help="Only names that people gave or accepted, not recognised ones.")
@click.option("--dry-run", is_flag=True, help="Write nothing, and say what would be written.")
@all_options
def export_names(into_files, short_sidecars, only_decided, dry_run):
    """Write names as face regions for photo programs, into XMP sidecars beside the photos.

    Other metadata and the files' times stay. Needs ExifTool.
    """
    from recognizer.archive import photo_names
    from recognizer.core.progress import Progress

    with service(started=False) as made, Progress("writing metadata", least=2) as progress:
        report = photo_names.export_names(
            made.archive.file,
            progress.photos,
            into_files=into_files,
            short_sidecars=short_sidecars,
            only_decided=only_decided,
            dry_run=dry_run,
        )
        if not dry_run:
            made.audit.append("archive_export_names", files=len(report.written), names=report.names)
    if state().json:
        failed = [{"file": path, "message": message} for path, message in report.failed]
        emit({**vars(report), "failed": failed, "dry_run": dry_run})
    else:
        for path, message in report.failed[:_SHOWN]:
            say(plain(f"{path}: {message}"))
        done = "to be written" if dry_run else "written"
        click.echo(
            f"{plural(len(report.written), 'file')} {done}, {report.unchanged} had all names, {len(report.failed)} failed"
        )
    return FAILED if report.failed else None


def _at(seconds: float | None) -> str:
    """Where in a video, for people; nothing for a photo."""
    return "" if seconds is None else f" at {int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def _hand_out(found, folder: Path, linked: bool) -> list[str]:
    """Copy or link the photos of a result into a folder; files of the same name get a number. Nothing is overwritten."""
    made = []
    with disk_errors(f"{folder} cannot be used"):
        folder.mkdir(parents=True, exist_ok=True)
        for paths in found.paths.values():
            source = next((Path(path) for path in paths if Path(path).is_file()), None)
            if source is None:
                continue
            target = folder / source.name
            number = 1
            while os.path.lexists(target):
                if linked and target.is_symlink() and target.resolve() == source.resolve():
                    break
                if not linked and target.is_file() and target.read_bytes() == source.read_bytes():
                    break
                number += 1
                target = folder / f"{source.stem}-{number}{source.suffix}"
            if not os.path.lexists(target):
                if linked:
                    target.symlink_to(source)
                else:
                    part = folder / f".part-{os.getpid()}-{source.name}"
                    try:
                        shutil.copy2(source, part)
                        os.replace(part, target)
                    finally:
                        with suppress(FileNotFoundError):
                            part.unlink()
            made.append(str(target))
    return made


def _updated(made, only):
    """Update with progress on the standard error stream."""
    from recognizer.core.progress import Progress

    with Progress("reading photos", least=1) as progress:

        def show(shown: dict) -> None:
            if shown["stage"] == "photos":
                rate, left = shown["per_second"], shown["seconds_left"]
                progress.photos_at_rate(shown["done"], shown["total"], rate, left, share=shown["share"])

        return made.archive.update(only, show)


def _tell(first: dict, report) -> None:
    if state().json:
        emit({**first, **({} if report is None else {"update": report.as_dict()})})
        return
    if report is None:
        click.echo(f"{plain(first['path'])} is in the archive; `archive update` reads its photos")
        return
    for path, found in report.folders.items():
        if found != "present":
            say(f"{plain(path)} is {found}: its index is kept")
    click.echo(
        f"{plural(report.found, 'photo')} found, {report.processed} processed, {plural(report.faces, 'new face')}, "
        f"{report.removed} deleted, {report.problems} refused, in {report.seconds:.0f} s"
    )
    if not report.complete:
        raise InvalidParameter("the update was ended early; run it again")


COMMANDS = (archive,)
