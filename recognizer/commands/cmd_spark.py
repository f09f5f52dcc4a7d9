"""spark: bulk work on Apache Spark, from files to files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from recognizer.commands.common import all_options, emit, service, shared_options, state
from recognizer.core.errors import InvalidParameter
from recognizer.core.progress import Progress
from recognizer.core.wording import plural

_OPTION = re.compile(r"([A-Za-z][\w.]*)=(.*)", re.DOTALL)


@click.group()
def spark():
    """Work on very many photos with Apache Spark."""


def _to(command: Callable) -> Callable:
    """The options of every command of `spark`."""
    command = click.option(
        "--conf", "options", multiple=True, metavar="NAME=VALUE", help="More of Spark's configuration; may be repeated."
    )(command)
    command = click.option(
        "--master",
        metavar="MASTER",
        help="Where the work is done, such as local[4] or spark://host:7077. By default all cores of this machine or, when "
        "started by spark-submit, what it says.",
    )(command)
    command = click.option("--to", "dest", required=True, metavar="DEST", help="Folder or bucket of the results.")(command)
    return click.argument("source")(command)


_anew = click.option("--anew", is_flag=True, help="Do everything again, and replace what is at DEST.")


@contextmanager
def _session(master: str | None, options: tuple[str, ...]) -> Iterator[Any]:
    """A session of Spark, which ends with the block unless it ran before."""
    from recognizer.spark.spark_session import is_running, open_session

    given = [_OPTION.fullmatch(each) for each in options]
    if None in given:
        raise InvalidParameter("--conf: expected NAME=VALUE")
    shared = is_running()
    session = open_session(master, {each[1]: each[2] for each in given if each is not None})
    try:
        yield session
    finally:
        if not shared:
            session.stop()


@spark.command()
@_to
@click.option("--column", metavar="NAME", help="SOURCE is Parquet with photos, URLs or paths in this column.")
@click.option(
    "--source-column", metavar="NAME", help="The column that names each photo, if --column has the photos themselves."
)
@click.option("--attributes", metavar="NAME,...", help="Say how each face looks. RECOGNIZER_ATTRIBUTES has to name them.")
@_anew
@shared_options("json", "engine")
def encode(source, dest, master, options, column, source_column, attributes, anew):
    """Find and describe the faces of the photos at SOURCE.

    SOURCE is a folder, a bucket (s3://...), a text file with a path or URL on each line, or Parquet files with --column.
    DEST gets Parquet files with one row for each face. Photos that are there already are passed over.
    """
    from recognizer.spark.encode_photos import encode_photos, make_plan
    from recognizer.spark.spark_session import require_spark

    require_spark()
    wanted = tuple(filter(None, map(str.strip, (attributes or "").split(","))))
    with Progress("describing photos", least=2) as progress:
        plan = make_plan(state().settings(), wanted, progress.download)
        with _session(master, options) as session:
            report = progress.photos
            totals = encode_photos(session, source, dest, plan, report, column=column, source_column=source_column, anew=anew)
    if state().json:
        emit(asdict(totals))
        return
    before = f", {totals.before} were there already" if totals.before else ""
    bad = f", {plural(totals.errors, 'photo')} could not be used" if totals.errors else ""
    click.echo(f"{plural(totals.photos, 'photo')}, {plural(totals.faces, 'face')}{bad}{before}")


@spark.command()
@_to
@click.option("--top-k", type=click.IntRange(0, 100), default=0, metavar="N", help="Keep the N nearest people of each face.")
@click.option(
    "--wrong-names",
    type=click.FloatRange(0, 1e9, min_open=True),
    metavar="N",
    help="Expect N wrong names in all if every face is a stranger's, instead of the stranger rate for each face.",
)
@_anew
@all_options
def match(source, dest, master, options, top_k, wrong_names, anew):
    """Name the faces that `encode` wrote to SOURCE: who of the enrolled people they are.

    Faces get the names that the server would give them. DEST gets a file for each file of SOURCE; those that are there
    already are passed over.
    """
    from recognizer.spark.match_faces import count_faces, gallery_plan, match_tables, stranger_rate_for
    from recognizer.spark.places import TablePlace
    from recognizer.spark.spark_session import require_spark

    require_spark()
    rate = None if wrong_names is None else stranger_rate_for(wrong_names, count_faces(TablePlace(source))[0])
    with service() as made, gallery_plan(made, top_k, rate) as plan, Progress("matching files", least=2) as progress:
        with _session(master, options) as session:
            totals = match_tables(session, source, dest, plan, progress.photos, anew=anew)
    if state().json:
        emit(asdict(totals))
        return
    before = f", {plural(totals.before, 'file')} were there already" if totals.before else ""
    click.echo(
        f"{plural(totals.faces, 'face')}, {totals.named} with a name, limit {totals.threshold:.3f} for "
        f"{plural(totals.templates, 'template')}{before}"
    )


@spark.command()
@_to
@click.option(
    "--method",
    type=click.Choice(["whispers", "components"]),
    default="whispers",
    show_default=True,
    help="Chinese whispers, as `group`, or connected components (SciPy).",
)
@click.option("--limit", type=click.FloatRange(0, 4, min_open=True), metavar="DISTANCE", help="Largest distance of neighbours.")
@shared_options("json", "engine")
def group(source, dest, master, options, method, limit):
    """Sort the faces that `encode` wrote to SOURCE by person.

    DEST gets groups.parquet, with the group of each face, and the pairs of neighbours, with which an interrupted run goes on.
    """
    from recognizer.spark.encode_photos import make_plan
    from recognizer.spark.group_faces import engine_info, group_tables
    from recognizer.spark.spark_session import require_spark

    require_spark()
    with Progress("comparing faces", least=2) as progress:
        info = engine_info(make_plan(state().settings(), (), progress.download))
        with _session(master, options) as session:
            totals = group_tables(session, source, dest, info, progress.photos, method=method, limit=limit)
    if state().json:
        emit(asdict(totals))
        return
    click.echo(
        f"{plural(totals.faces, 'face')}, {plural(totals.groups, 'person', 'people')}, {totals.on_several} of them with "
        f"several faces, {totals.not_grouped} not grouped"
    )
