"""evaluate: how good an engine is, measured on one's own photos."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ..errors import InvalidParameter, StorageError
from ..settings import SETTINGS, Settings
from .common import emit, plain, say, setting_options, state, table

_CHOICES = {item.name: item.metadata["choices"] for item in SETTINGS}
_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_STDOUT = Path("-")
_SHOWN = 5  # lost photos that are named


@click.command()
@click.option("--pairs", type=_FILE, help="Pairs of photos, in LFW's format or as CSV `a,b,same`: one against one.")
@click.option("--boxes", type=_FILE, help="Where faces are, as JSON or WIDER FACE's list: finding faces.")
@click.option("--objects", type=_FOLDER, metavar="DIR", help="Where objects are, as YOLO's label files: finding objects.")
@click.option("--images", type=_FOLDER, metavar="DIR", help="The photos that --pairs, --boxes or --objects name.")
@click.option("--gallery", type=_FOLDER, metavar="DIR", help="One folder per person, enrolled: one against many.")
@click.option("--probes", type=_FOLDER, metavar="DIR", help="One folder per person, looked for in --gallery.")
@click.option(
    "--split",
    type=_FOLDER,
    metavar="DIR",
    help="One folder per person, of whom some are enrolled and looked for, and some are strangers.",
)
@click.option(
    "--subject",
    type=click.Choice(["central", "largest"]),
    default="central",
    show_default=True,
    help="Which face of a photo counts.",
)
@click.option(
    "--sizes", default="10,100,1000", show_default=True, metavar="N,...", help="People enrolled, besides all of them."
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="Random galleries of each size, at least.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn at random.")
@click.option(
    "--iou",
    type=click.FloatRange(0.05, 0.95),
    help="Overlap from which on a face (0.4 if not given) or an object (0.5) counts as found.",
)
@click.option("--engine", metavar="NAME", help="Embedder, or detector+embedder: dlib+sface, yunet+dlib, ...")
@click.option(
    "--min-face", type=click.IntRange(1, 100_000), metavar="PIXELS", help="Leave out faces smaller than this."
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 4),
    metavar="NUMBER",
    help="Largest distance that counts as the same person; with --objects the least score.",
)
@click.option(
    "--json", "json_file", type=_FILE, is_flag=False, flag_value=_STDOUT, metavar="[FILE]",
    help="Write everything that was measured to FILE, or to the standard output.",
)  # fmt: skip
@click.option("--plot", type=_FILE, metavar="FILE.png", help="Draw the curves into FILE; needs matplotlib.")
@click.option("--fresh", is_flag=True, help="Look at all photos again, also those that an earlier run looked at.")
@setting_options
def evaluate(
    pairs, boxes, objects, images, gallery, probes, split, subject, sizes, repeats, seed, iou, engine, min_face,
    threshold, json_file, plot, fresh,
):  # fmt: skip
    """Measure how good an engine is on photos of your own.

    Give --pairs and --images, or --gallery and --probes, or --split, or --boxes and --images. Nothing is enrolled; what
    was made of photos is kept in the state folder, so an interrupted run goes on where it stopped. With another --provider
    than the default one, its drift from that is measured as well. --objects and --images measure the detector of objects
    instead. docs/accuracy.md explains the figures.
    """
    from ..evaluation import plots, run
    from ..evaluation.detection import IOU
    from ..evaluation.identification import Plan

    _check_choice(pairs, boxes, objects, images, gallery, probes, split)
    _check_outputs(json_file, plot)
    if plot:
        plots.require_matplotlib()
    plan = Plan(_sizes(sizes), repeats, seed)
    if objects:
        _finish(_objects_report(objects, images, iou, threshold), json_file, plot)
        return
    settings = _settings(engine, {"min_face": min_face, "threshold": threshold})
    with _bench(settings, subject, fresh) as bench:
        report = run.about(bench)
        if pairs:
            report["verification"] = run.verify(bench, pairs, images)
        if gallery:
            report["identification"] = run.identify(bench, gallery, probes, plan)
        if split:
            report["identification"] = run.identify_split(bench, split, plan)
        if boxes:
            report["detection"] = run.detect(bench, boxes, images, iou or IOU)
        if bench.source.provider != "cpu":
            folders = [folder for folder in (gallery, probes, split) if folder]
            report["drift"] = run.measure_drift(bench, pairs=pairs, boxes=boxes, images=images, folders=folders)
    _finish(report, json_file, plot)


def _finish(report: dict, json_file: Path | None, plot: Path | None) -> None:
    from ..evaluation import plots

    if json_file and json_file != _STDOUT:
        _write(json_file, json.dumps(report, indent=1) + "\n")
    if plot:
        plots.draw(report, plot)
    if state().json or json_file == _STDOUT:
        emit(report)
    else:
        _show(report)


# -- what was asked -------------------------------------------------------------------------------------------------


def _check_choice(pairs, boxes, objects, images, gallery, probes, split) -> None:
    if not (pairs or boxes or objects or gallery or probes or split):
        raise click.UsageError("expected --pairs, --gallery and --probes, --split, --boxes, or --objects")
    if objects and (gallery or probes or split):
        raise click.UsageError("--objects measures another detector: measure one after the other")
    if bool(pairs) + bool(boxes) + bool(objects) > 1:
        raise click.UsageError("--pairs, --boxes and --objects have photos of their own: measure one after the other")
    if bool(pairs or boxes or objects) != bool(images):
        raise click.UsageError("--images goes with --pairs, --boxes or --objects")
    if bool(gallery) != bool(probes):
        raise click.UsageError("--gallery and --probes go together")
    if split and gallery:
        raise click.UsageError("--split takes the place of --gallery and --probes")


def _check_outputs(*files: Path | None) -> None:
    """Hours of work must not end in a folder that is not there."""
    for file in files:
        if file and file != _STDOUT and not file.absolute().parent.is_dir():
            raise click.UsageError(f"there is no folder to write {plain(str(file))} into")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise click.BadParameter(f"expected numbers of people such as 10,100, got {text!r}", param_hint="--sizes")
    return sizes


def _settings(engine: str | None, changes: dict) -> Settings:
    """The settings in force, with what the options of this command say."""
    held = state().overrides
    if engine is not None:
        detector, embedder = _engine(engine)
        for option, meant in (("detector", detector), ("embedder", embedder)):
            given = held.get(option)
            if given and meant and given != meant:
                raise click.UsageError(f"--engine {engine} and --{option} {given} contradict each other")
        changes = {**changes, "detector": detector, "embedder": embedder}
    settings = state().settings()
    return settings.replace(**{name: value for name, value in changes.items() if value is not None})


def _engine(name: str) -> tuple[str | None, str]:
    """The detector, if there is one in it, and the embedder that a name such as ``yunet+dlib+sface`` means."""
    first, _, rest = name.partition("+")
    detector, embedder = (first, rest) if first in _CHOICES["detector"] and rest else (None, name)
    if embedder not in _CHOICES["embedder"]:
        shown = ", ".join(_CHOICES["embedder"])
        raise click.BadParameter(
            f"expected one of {shown}, or one of {', '.join(_CHOICES['detector'])} and + before it, got {name!r}",
            param_hint="--engine",
        )
    return detector, embedder


# -- what it is measured with ---------------------------------------------------------------------------------------


@contextmanager
def _bench(settings: Settings, subject: str, fresh: bool) -> Iterator:
    from .. import models
    from ..encodings import EncodingsCache
    from ..engines import make_engine, require_provider, runs_on, weights_for
    from ..evaluation.encode import Source
    from ..evaluation.run import Bench
    from ..progress import Progress
    from ..vault import open_vault

    provider = runs_on(settings.detector, settings.embedder, settings.provider)
    require_provider(provider)  # before anything is fetched
    with Progress("looking at photos", least=2) as progress:
        models.ensure(weights_for(settings.detector, settings.embedder), settings.models_dir, progress.download)
        names = ("detector", "embedder", "models_dir", "detect_size", "detect_size_large", "min_face", "hog_upsample")
        recipe = {name: getattr(settings, name) for name in names} | {"provider": provider}
        source = Source(
            make_engine(**recipe),
            recipe,
            subject,
            settings.max_image_bytes,
            settings.max_image_pixels,
            _workers(settings),
        )
        vault = open_vault(settings.encryption_key, settings.encryption_key_file)
        cache = EncodingsCache(":memory:" if fresh else _cache_file(settings.state_dir), vault)
        try:
            yield Bench(source, cache, settings.stranger_rate, settings.threshold, progress.photos)
        finally:
            cache.close()


def _objects_report(labels: Path, folder: Path, iou: float | None, threshold: float | None) -> dict:
    from .. import models
    from ..evaluation import run
    from ..evaluation.objects import IOU
    from ..objects import GRAPH, WEIGHTS, ObjectDetector
    from ..progress import Progress

    settings = state().settings()
    if threshold is not None:
        settings = settings.replace(object_threshold=threshold)
    limits = settings.max_image_bytes, settings.max_image_pixels
    with Progress("looking at photos", least=2) as progress:
        detector = ObjectDetector(*models.ensure((WEIGHTS, GRAPH), settings.models_dir, progress.download))
        measured = run.find_objects(
            detector, labels, folder, settings.object_threshold, iou or IOU, limits, progress.photos
        )
    return {**run.about_objects(), "objects": measured}


def _workers(settings: Settings) -> int:
    from ..video.workers import cores

    return settings.workers or cores()


def _cache_file(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("the state folder cannot be made: check RECOGNIZER_STATE_DIR") from error
    return folder / "evaluation.sqlite"


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidParameter(f"{file}: the file cannot be written ({(error.strerror or 'error').lower()})") from None


# -- what came out, for people --------------------------------------------------------------------------------------


def _show(report: dict) -> None:
    click.echo(f"engine {report['engine']}, {report['date']}")
    for name, show in (
        ("verification", _verification),
        ("identification", _identification),
        ("detection", _detection),
        ("objects", _objects),
    ):
        if name in report:
            click.echo()
            show(report[name])
            _lost(report[name]["photos_lost"])
    if "drift" in report:
        click.echo()
        _drift(report["drift"])


def _verification(part: dict) -> None:
    at = part["at_threshold"]
    lost = f"{part['pairs_lost_same']} of one person, {part['pairs_lost_different']} of two"
    rows = [
        ("pairs of one person, of two", f"{part['pairs_same']}, {part['pairs_different']}", ""),
        ("pairs lost for want of a face", part["pairs_lost"], lost if part["pairs_lost"] else ""),
        (f"accuracy, {part['folds']} folds", _percent(part["accuracy"]), _between(part["accuracy_interval"])),
        ("accuracy if lost pairs count as different", _percent(part["accuracy_lost_as_different"]), ""),
    ]
    for key, share in part["tar"].items():
        note = "" if part["tar_measurable"][key] else " (too few pairs of two people to tell)"
        rows.append((f"true accepts at FMR {key}", _percent(share), _between(part["tar_interval"][key]) + note))
    rows += [
        (f"at the threshold in force, {part['threshold']:.4f}: accuracy", _percent(at["accuracy"]), ""),
        ("  false matches, FMR", _percent(at["fmr"]), _between(at["fmr_interval"])),
        ("  false non-matches, FNMR", _percent(at["fnmr"]), _between(at["fnmr_interval"])),
    ]
    for key, promise in part["calibration"].items():
        rows.append((f"calibrated FMR {key}, measured", _percent(promise["fmr"]), _between(promise["fmr_interval"])))
    table(["one against one", "measured", "95 % interval"], rows)


def _identification(part: dict) -> None:
    rows = []
    for size in part["by_size"].values():
        rates = [f"{_percent(size[key])} ({_between(size[f'{key}_interval'])})" for key in ("fpir", "fnir", "rank1")]
        rows.append((size["people"], f"{size['templates']:.0f}", size["galleries"], f"{size['threshold']:.4f}", *rates))
    heads = (
        "people",
        "templates",
        "galleries",
        "threshold",
        "strangers named (FPIR)",
        "enrolled not named (FNIR)",
        "rank 1",
    )
    table(heads, rows)
    if part["stranger_rate"] is not None:
        click.echo(f"set: {_percent(part['stranger_rate'])} of strangers may be named")
    if part.get("probes_also_enrolled"):
        click.echo(f"{part['probes_also_enrolled']} probes are in the gallery as well and were left out")
    if part["photos_in_no_folder"]:
        say(f"photos that lie in no person's folder and were left out: {part['photos_in_no_folder']}")


def _detection(part: dict) -> None:
    rows = []
    for key, recall in part["recall"].items():
        average = part["average_precision"][key]
        note = "" if average is None else f"average precision {average:.3f}"
        between = _between(part["recall_interval"][key])
        rows.append((f"recall {key} px ({part['faces'][key]} faces)", _percent(recall), between, note))
    between = _between(part["precision_interval"])
    rows.append((f"precision ({part['boxes_found']} boxes)", _percent(part["precision"]), between, ""))
    if part["ms"] is not None:
        note = f"median {part['ms_median']:.1f}, processor time {part['cpu_ms']:.1f}"
        rows.append((f"milliseconds per photo ({part['photos']} photos)", f"{part['ms']:.1f}", "", note))
    table(["finding faces", "measured", "95 % interval", ""], rows)


def _drift(part: dict) -> None:
    embedding, found, ms = part["embedding"], part["detection"], part["cpu_ms"]
    rows = [
        ("embedding, same chips (L2)", *_spread(embedding["same_chips"], ".6f")),
        ("embedding, own boxes (L2)", *_spread(embedding["own_boxes"], ".6f")),
        ("edge of a box (pixels)", *_spread(found["box_px"], ".3f")),
        ("landmark (pixels)", *_spread(found["landmark_px"], ".3f")),
        ("score of a face", *_spread(found["score"], ".5f")),
    ]
    table([f"{part['provider']} against {part['reference']}", "median", "99 %", "largest"], rows)
    click.echo(f"{part['photos']} photos, {found['faces']} faces: {found['gained']} gained, {found['lost']} lost")
    if "pairs" in embedding:
        click.echo(
            f"of {embedding['pairs']} pairs of faces, {embedding['matches']} of them within {embedding['threshold']:.4f}, "
            f"{embedding['decisions_changed']} are decided otherwise; "
            f"{embedding['decisions_changed_mixed']} where one template of a pair comes from either"
        )
    for what in ("detect", "embed"):
        if what in ms:
            click.echo(f"processor time to {what}: {ms[what]:.2f} ms, {ms[what + '_reference']:.2f} on the default")


def _spread(part: dict | None, form: str) -> list[str]:
    return ["-"] * 3 if part is None else [format(part[key], form) for key in ("median", "p99", "max")]


def _objects(part: dict) -> None:
    rows = [
        (f"recall ({part['objects']} objects)", _percent(part["recall"]), _between(part["recall_interval"])),
        (f"precision ({part['found']} found)", _percent(part["precision"]), _between(part["precision_interval"])),
        ("mean average precision at IoU 0.5", _figure(part["map_50"]), ""),
        ("mean average precision at IoU 0.5 to 0.95", _figure(part["map_50_95"]), ""),
    ]
    if part["ms"] is not None:
        note = f"median {part['ms_median']:.1f}, processor time {part['cpu_ms']:.1f}"
        rows.append((f"milliseconds per photo ({part['photos']} photos)", f"{part['ms']:.1f}", note))
    table([f"finding objects, threshold {part['threshold']:g}, IoU {part['iou']:g}", "measured", "95 % interval"], rows)
    click.echo()
    table(
        ["threshold", "precision", "recall"],
        [(f"{step:.2f}", _percent(precision), _percent(recall)) for step, precision, recall in part["curve"]],
    )
    click.echo()
    by_count = sorted(part["by_label"].items(), key=lambda item: (-item[1]["objects"], item[0]))
    table(
        ["label", "objects", "found", "precision", "recall", "average precision"],
        [
            (
                label, one["objects"], one["found"], _percent(one["precision"]), _percent(one["recall"]),
                _figure(one["average_precision"]),
            )
            for label, one in by_count
        ],
    )  # fmt: skip
    if part["labels_not_known"]:
        say(f"labels that are not looked for: {', '.join(map(plain, part['labels_not_known']))}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _lost(photos: list[dict]) -> None:
    if photos:
        shown = ", ".join(f"{plain(each['photo'])} [{each['problem']}]" for each in photos[:_SHOWN])
        say(f"{len(photos)} photos lost: {shown}{', ...' if len(photos) > _SHOWN else ''}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _between(interval) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %"


COMMANDS = (evaluate,)
