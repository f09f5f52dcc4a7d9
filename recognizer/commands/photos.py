"""recognize, detect, objects, verify, enroll: the commands that look at photos."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click

from .. import sources
from ..errors import RecognizerError, StorageError
from ..progress import Progress
from .common import common_options, emit, error_data, plain, say, service, state

FAILED, NOBODY = 1, 3
_MANY = 20  # photos from which on their count is worth a line in a log

_photos = click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
_min_face = click.option(
    "--min-face", type=click.IntRange(1, 100_000), metavar="PIXELS", help="Leave out faces smaller than this."
)
_landmarks = click.option(
    "--landmarks", type=click.Choice(["5", "68"]),
    help="List points of each face. The 68 points come from weights that may not be used commercially.",
)  # fmt: skip
_annotate = click.option(
    "--annotate", metavar="DIR|FILE",
    help="Save copies with what was found drawn on them: into a folder, or for one photo as a .jpg file.",
)  # fmt: skip
_threshold = click.option(
    "--threshold", type=click.FloatRange(0, 4), metavar="DISTANCE", help="Largest distance that counts as one person."
)


@click.command()
@_photos
@click.option(
    "--top-k", type=click.IntRange(0, 100), default=0, metavar="N", help="List the N nearest people of each face."
)
@_min_face
@_landmarks
@_threshold
@_annotate
@common_options
def recognize(photos, top_k, min_face, landmarks, threshold, annotate):
    """Say who is in photos.

    PHOTO is a file, a folder (every photo in it and below), an http(s) URL, or - for the standard input. Exit code 3
    says that nobody who is enrolled was recognised in any of them.
    """
    with service() as made:
        if not len(made.gallery):
            say(f"nobody is enrolled: put photos into {plain(str(made.settings.known_faces))}/NAME/, or use `enroll`")

        def look(photo):
            return made.recognition.recognize(
                photo, top_k=top_k, min_face=min_face, landmarks=int(landmarks or 5), threshold=threshold
            )

        answers, failed = _look_at_all(made, photos, look, annotate, candidates=top_k > 0, landmarks=bool(landmarks))
    named = any(face["subject"] for answer in answers for face in answer.get("faces", ()))
    return FAILED if failed else None if named else NOBODY


@click.command()
@_photos
@_min_face
@_landmarks
@_annotate
@common_options
def detect(photos, min_face, landmarks, annotate):
    """Find faces in photos.

    PHOTO is as for `recognize`.
    """
    with service(started=False) as made:

        def look(photo):
            return made.recognition.detect(photo, min_face=min_face, landmarks=int(landmarks or 5))

        _, failed = _look_at_all(made, photos, look, annotate, candidates=False, landmarks=bool(landmarks))
    return FAILED if failed else None


@click.command()
@_photos
@click.option(
    "--threshold", type=click.FloatRange(0.01, 1), metavar="SCORE", help="Least score that counts as found."
)
@click.option("--labels", metavar="LABEL,...", help="Only these kinds of objects, for example person,dog.")
@_annotate
@common_options
def objects(photos, threshold, labels, annotate):
    """Find objects of 80 kinds in photos: people, vehicles, animals, furniture and more.

    PHOTO is as for `recognize`. What finds objects is fetched when it is first asked for.
    """
    from .. import replies
    from ..objects import check_labels

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
@common_options
def verify(photo, other, subject, threshold):
    """Say whether two photos show the same person: PHOTO and OTHER, or PHOTO and an enrolled person.

    The largest face of a photo counts. Exit code 3 says that they are not the same.
    """
    from .. import replies

    if (other is None) == (subject is None):
        raise click.UsageError("expected a second photo or --subject NAME, and not both")
    with service(started=subject is not None) as made:
        read = _reader(made, [photo, other])
        result = made.recognition.verify(read(photo), None if other is None else read(other), subject, threshold)
    if state().json:
        emit(replies.verification(result))
    else:
        verdict = "same person" if result.same else "not the same person"
        click.echo(f"{verdict}: distance {result.distance:.3f}, limit {result.threshold:.3f}")
    return None if result.same else NOBODY


@click.command()
@click.argument("name")
@_photos
@click.option(
    "--face", type=click.Choice(["only", "largest"]), default="only", show_default=True,
    help="With several people in a photo: refuse it, or take the largest face.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Enrol a face even if it looks like somebody else who is enrolled.")
@common_options
def enroll(name, photos, face, force):
    """Enrol photos of the person NAME; their folder in known_faces is made if it is not there.

    PHOTO is as for `recognize`.
    """
    from .. import names, replies

    subject = names.normalise(name)
    with service() as made:
        named = list(sources.expand(photos))
        read = _reader(made, named)

        def one(source: str) -> dict:
            return replies.enrolled(made.subjects.enrol(subject, read(source), face=face, force=force))

        answers, failed = _each(named, one, _print_enrolled, workers=1)
    if state().json:
        emit({"name": subject, "photos": answers})
    return FAILED if failed else None


COMMANDS = (recognize, detect, objects, enroll, verify)


# -- many photos ------------------------------------------------------------------------------------------------------


def _reader(made, named: Sequence[str]) -> Callable[[str], bytes]:
    """What reads the photos that are named. The standard input is read here, where an interruption ends it."""
    most = made.settings.max_image_bytes
    given = sources.read_stdin(most) if sources.STDIN in named else b""
    return lambda source: given if source == sources.STDIN else sources.read(source, max_bytes=most, fetch=made.fetch)


def _look_at_all(
    made, photos, look: Callable, annotate: str | None, shape: Callable | None = None, show: Callable | None = None,
    **shown: bool,
) -> tuple[list[dict], bool]:  # fmt: skip
    """Look at every photo, answer for each as it is done, and save annotated copies; the answers, and if any failed.

    `shape` makes an answer of what was seen, and `show` prints it; if they are not given, those of faces do.
    """
    from .. import replies

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
        raise StorageError(f"{place} cannot be written: {(error.strerror or '').lower()}") from error
    return str(place)


def _each(
    named: Sequence[str], work: Callable[[str], dict], show: Callable[[dict], None], workers: int
) -> tuple[list[dict], bool]:
    """Do `work` for every photo, several at once, and show the answers in order; what fails does not stop the rest."""
    answers, failed = [], False
    bar = state().json or not sys.stdout.isatty()  # else the answers themselves show how far it is
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
    """`map` on threads; what has not begun is dropped when the block is left early."""
    with ThreadPoolExecutor(workers) as executor:
        try:
            yield executor.map
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


# -- lines for people -------------------------------------------------------------------------------------------------


def _print_faces(answer: dict) -> None:
    photo = plain(answer["source"])
    if not answer["faces"]:
        click.echo(f"{photo}: no face")
    for face in answer["faces"]:
        click.echo(f"{photo}: {_who(face)}{_where(face['box'])}")
        for candidate in face.get("candidates", ()):
            click.echo(f"    {candidate['subject']}  distance {candidate['distance']:.3f}")
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
    name = face["subject"] or "unknown"
    return name + "  " + ("" if face["distance"] is None else f"distance {face['distance']:.3f}  ")


def _where(box: dict) -> str:
    return f"at {box['left']},{box['top']} size {box['right'] - box['left']}x{box['bottom'] - box['top']}"


def _print_enrolled(answer: dict) -> None:
    status = {"added": "enrolled", "known": "enrolled before"}[answer["status"]]
    click.echo(f"{plain(answer['source'])}: {status}")
    for warning in answer.get("warnings", ()):
        say(f"    warning: {warning['message']}")
