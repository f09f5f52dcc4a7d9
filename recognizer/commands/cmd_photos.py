"""recognize, detect, objects, verify, enroll: the commands for photos."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path

import click

from recognizer.commands.common import (
    all_options,
    emit,
    enrolment_options,
    error_data,
    plain,
    say,
    service,
    shared_options,
    state,
)
from recognizer.core.disk import storage_error
from recognizer.core.errors import RecognizerError, StorageError
from recognizer.core.progress import Progress
from recognizer.photos import sources

FAILED, NOBODY = 1, 3
_MANY = 20  # with this many photos or more, their count is logged

_photos = click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
_min_face = click.option(
    "--min-face", type=click.IntRange(1, 100_000), metavar="PIXELS", help="Ignore faces smaller than this."
)
_landmarks = click.option(
    "--landmarks",
    type=click.Choice(["5", "68"]),
    help="List landmarks of each face. The weights for 68 points must not be used commercially.",
)
_attributes = click.option(
    "--attributes",
    metavar="NAME,...",
    help="Say how each face looks: age, gender, expression. RECOGNIZER_ATTRIBUTES has to name them.",
)
_annotate = click.option(
    "--annotate",
    metavar="DIR|FILE",
    help="Save annotated copies in a folder or, for one photo, as a .jpg file.",
)
_threshold = click.option("--threshold", type=click.FloatRange(0, 4), metavar="DISTANCE", help="Maximum distance of a match.")


@click.command()
@_photos
@click.option(
    "--top-k", type=click.IntRange(0, 100), default=0, metavar="N", help="List the N nearest enrolled people for each face."
)
@_min_face
@_landmarks
@_threshold
@_attributes
@_annotate
@all_options
def recognize(photos, top_k, min_face, landmarks, threshold, attributes, annotate):
    """Name the people in photos.

    PHOTO is a file, a folder (every photo in it and below), an http(s) URL, or - for the standard input. Exit code 3
    says that nobody who is enrolled was recognised in any of them.
    """
    with service() as made:
        if not len(made.gallery):
            say(f"nobody is enrolled: put photos into {plain(str(made.settings.known_faces))}/NAME/, or use `enroll`")

        def look(photo):
            return made.recognition.recognize(
                photo,
                top_k=top_k,
                min_face=min_face,
                landmarks=int(landmarks or 5),
                threshold=threshold,
                attributes=attributes,
            )

        _prepare(made, attributes)

        answers, failed = _look_at_all(made, photos, look, annotate, candidates=top_k > 0, landmarks=bool(landmarks))
    named = any(face["subject"] for answer in answers for face in answer.get("faces", ()))
    return FAILED if failed else None if named else NOBODY


@click.command()
@_photos
@_min_face
@_landmarks
@_attributes
@_annotate
@shared_options("json", "engine")
def detect(photos, min_face, landmarks, attributes, annotate):
    """Find faces in photos.

    PHOTO is as for `recognize`.
    """
    with service(started=False) as made:

        def look(photo):
            return made.recognition.detect(photo, min_face=min_face, landmarks=int(landmarks or 5), attributes=attributes)

        _prepare(made, attributes)

        _, failed = _look_at_all(made, photos, look, annotate, candidates=False, landmarks=bool(landmarks))
    return FAILED if failed else None


@click.command()
@_photos
@click.option("--threshold", type=click.FloatRange(0.01, 1), metavar="SCORE", help="Minimum score.")
@click.option("--labels", metavar="LABEL,...", help="Only objects with these labels, for example person,dog.")
@_annotate
@shared_options("json")
def objects(photos, threshold, labels, annotate):
    """Find objects of 80 kinds in photos: people, vehicles, animals, furniture and more.

    PHOTO is as for `recognize`. The object detector is downloaded on first use.
    """
    from recognizer.http import replies
    from recognizer.photos.objects import check_labels

    wanted = None if labels is None else check_labels([each.strip() for each in labels.split(",") if each.strip()])
    with service(started=False) as made:
        with Progress() as progress:
            made.finder.detector(progress.download)

        def look(photo):
            return made.recognition.objects(photo, threshold=threshold, labels=wanted)

        _, failed = _look_at_all(made, photos, look, annotate, replies.objects, _print_objects)
    return FAILED if failed else None


@click.command()
@click.argument("photo")
@click.argument("other", required=False)
@click.option("--subject", metavar="NAME", help="Compare with this enrolled person instead of a second photo.")
@_threshold
@all_options
def verify(photo, other, subject, threshold):
    """Compare PHOTO with OTHER, or with an enrolled person: is it the same person?

    The largest face of a photo counts. Exit code 3 says that they are not the same, or cannot be compared.
    """

    if (other is None) == (subject is None):
        raise click.UsageError("expected a second photo or --subject NAME, and not both")
    with service(started=subject is not None) as made:
        read = _reader(made, [photo, other])
        result = made.recognition.verify(read(photo), None if other is None else read(other), subject, threshold)
    if state().json:
        emit(result.to_dict())
    else:
        verdict = "same person" if result.same else "not the same person" if result.comparable else "not comparable"
        click.echo(f"{verdict}: distance {result.distance:.3f}, limit {result.threshold:.3f}")
        for place, found in zip(("PHOTO", "OTHER"), result.comparabilities, strict=False):
            for remark in found.sentences():
                click.echo(f"    {place}: {remark['message']}")
    return None if result.same else NOBODY


@click.command()
@click.argument("name")
@_photos
@enrolment_options
@all_options
def enroll(name, photos, face, force):
    """Enrol photos of the person NAME; the folder in known_faces is created if it is missing.

    PHOTO is as for `recognize`.
    """
    from recognizer.core import names
    from recognizer.core.audit import one_act
    from recognizer.http import replies

    subject = names.normalise(name)
    with service() as made:
        named = list(sources.expand(photos))
        read = _reader(made, named)

        def one(source: str) -> dict:
            return replies.enrolled(made.subjects.enrol(subject, read(source), face=face, force=force))

        with one_act():
            answers, failed = _each(named, one, _print_enrolled, workers=1)
    if state().json:
        emit({"name": subject, "photos": answers})
    return FAILED if failed else None


COMMANDS = (recognize, detect, objects, enroll, verify)


def _prepare(made, attributes: str | None) -> None:
    """Refuse attributes that cannot be had before any photo is read, and fetch what they need."""
    if made.attribute_finder.chosen(attributes):
        with Progress() as progress:
            made.attribute_finder.reader(progress.download)


# -- many photos ------------------------------------------------------------------------------------------------------


def _reader(made, named: Sequence[str]) -> Callable[[str], bytes]:
    """A function that reads a named photo. The standard input is read here, where an interruption can end it."""
    most = made.settings.max_image_bytes
    given = sources.read_stdin(most) if sources.STDIN in named else b""
    return lambda source: given if source == sources.STDIN else sources.read_source(source, max_bytes=most, fetch=made.fetch)


def _look_at_all(
    made,
    photos,
    look: Callable,
    annotate: str | None,
    shape: Callable | None = None,
    show: Callable | None = None,
    **shown: bool,
) -> tuple[list[dict], bool]:
    """Process every photo, print each result when it is ready, and save annotated copies; the results, and whether any failed.

    `shape` makes an answer of what was seen, and `show` prints it; if they are not given, those of faces do.
    """
    from recognizer.http import replies

    shape = shape or replies.seen
    named = list(sources.expand(photos))
    places = _places(named, annotate)
    read = _reader(made, named)

    def one(source: str) -> dict:
        seen = look(read(source))
        answer = shape(seen, **shown)
        if source in places:
            answer["annotated"] = _save(made.recognition.annotated(seen), places[source], source)
        return answer

    answers, failed = _each(named, one, show or _print_faces, workers=made.pool.workers)
    if state().json:
        emit({"photos": answers})
    return answers, failed


def _places(named: list[str], annotate: str | None) -> dict[str, Path]:
    if annotate is None:
        return {}
    try:
        return dict(zip(named, sources.annotated_paths(named, annotate), strict=True))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--annotate") from None


def _save(data: bytes, place: Path, source: str) -> str:
    """Write an annotated copy, never over the photo itself."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists() and not sources.is_url(source) and Path(source).exists() and place.samefile(source):
            raise StorageError("the annotated copy would replace the photo: choose another place")
        place.write_bytes(data)
    except OSError as error:
        raise storage_error(f"{place} cannot be written", error) from error
    return str(place)


def _each(
    named: Sequence[str], work: Callable[[str], dict], show: Callable[[dict], None], workers: int
) -> tuple[list[dict], bool]:
    """Do `work` for every photo, several at once, and print results in order. A failure does not stop the others."""
    answers, failed = [], False
    bar = state().json or not sys.stdout.isatty()  # otherwise the results show the progress
    least = 2 if sys.stderr.isatty() else _MANY
    with Progress("looking at photos", least=least) as progress, _ordered(workers) as run:
        for source, answer in zip(named, run(lambda one: _answer(one, work), named), strict=True):
            answers.append(answer)
            if "error" in answer:
                failed = True
                say(f"{plain(source)}: {answer['error']['message']} [{answer['error']['code']}]")
            elif not state().json:
                show(answer)
            if bar:
                progress.photos(len(answers), len(named))
    return answers, failed


def _answer(source: str, work: Callable[[str], dict]) -> dict:
    try:
        return {"source": source, **work(source)}
    except RecognizerError as error:
        return {"source": source, "error": error_data(error)}


@contextmanager
def _ordered(workers: int) -> Iterator[Callable]:
    """`map` on threads, in the caller's context; jobs that have not started are dropped when the block is left early."""
    with ThreadPoolExecutor(workers) as executor:

        def ordered(work: Callable, items: Sequence) -> Iterator:
            return executor.map(lambda item, context: context.run(work, item), items, [copy_context() for _ in items])

        try:
            yield ordered
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


# -- lines for people -------------------------------------------------------------------------------------------------


def _print_faces(answer: dict) -> None:
    photo = plain(answer["source"])
    if not answer["faces"]:
        click.echo(f"{photo}: no face")
    for face in answer["faces"]:
        click.echo(f"{photo}: {_who(face)}{_where(face['box'])}")
        for remark in face.get("remarks", ()):
            click.echo(f"    {remark['message']}")
        for candidate in face.get("candidates", ()):
            click.echo(f"    {candidate['subject']}  distance {candidate['distance']:.3f}")
        if "attributes" in face:
            click.echo(f"    looks {_looks(face['attributes'])}")
        for name, points in face.get("landmarks", {}).items():
            click.echo(f"    {name}  " + " ".join(f"{x:g},{y:g}" for x, y in points))
    _print_saved(answer)


def _print_objects(answer: dict) -> None:
    photo = plain(answer["source"])
    if not answer["objects"]:
        click.echo(f"{photo}: no object")
    for found in answer["objects"]:
        click.echo(f"{photo}: {found['label']}  score {found['score']:.2f}  {_where(found['box'])}")
    _print_saved(answer)


def _print_saved(answer: dict) -> None:
    if "annotated" in answer:
        click.echo(f"    saved as {plain(answer['annotated'])}")


def _who(face: dict) -> str:
    if "subject" not in face:
        return f"face  score {face['score']:.2f}  "
    name = face["subject"] or ("unknown" if face["comparable"] else "not comparable")
    return name + "  " + ("" if face["distance"] is None else f"distance {face['distance']:.3f}  ")


def _looks(attributes: dict) -> str:
    """How a face looks, in words: ``25-41 years, female (97 %), expression not said (blurred)``."""
    said = []
    for name, found in attributes.items():
        if name == "reasons":
            continue
        if found is None:
            said.append(f"{name} not said ({', '.join(attributes['reasons'][name])})")
        elif name == "age":
            said.append(f"{found['low']}-{found['high']} years")
        else:
            said.append(f"{found['value']} ({100 * found['probability']:.0f} %)")
    return ", ".join(said)


def _where(box: dict) -> str:
    return f"at {box['left']},{box['top']} size {box['right'] - box['left']}x{box['bottom'] - box['top']}"


def _print_enrolled(answer: dict) -> None:
    status = {"added": "enrolled", "known": "enrolled before"}[answer["status"]]
    click.echo(f"{plain(answer['source'])}: {status}")
    for warning in answer.get("warnings", ()):
        say(f"    warning: {warning['message']}")
