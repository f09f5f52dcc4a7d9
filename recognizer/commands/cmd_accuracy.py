"""evaluate: the accuracy of an engine on your own photos."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from recognizer.commands.common import emit, plain, say, shared_options, state, table
from recognizer.core.disk import disk_reason
from recognizer.core.errors import InvalidParameter, StorageError
from recognizer.core.settings import SETTINGS, Settings
from recognizer.core.wording import plural

_CHOICES = {item.name: item.metadata["choices"] for item in SETTINGS}
_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_STDOUT = Path("-")
_SHOWN = 5  # how many lost photos are listed


@click.command()
@click.option("--pairs", type=_FILE, help="Verification (1:1): pairs of photos, in LFW's format or as CSV `a,b,same`.")
@click.option("--boxes", type=_FILE, help="Face detection: true boxes, as JSON or WIDER FACE's list.")
@click.option("--objects", type=_FOLDER, metavar="DIR", help="Object detection: true boxes, as YOLO's label files.")
@click.option("--images", type=_FOLDER, metavar="DIR", help="Folder of the photos that --pairs, --boxes or --objects name.")
@click.option(
    "--attributes",
    type=_FILE,
    metavar="CSV",
    help="Attributes of faces: a file with the columns photo and any of age, gender, expression, group.",
)
@click.option("--gallery", type=_FOLDER, metavar="DIR", help="Identification (1:N): one folder per enrolled person.")
@click.option("--probes", type=_FOLDER, metavar="DIR", help="Probes for --gallery: one folder per person.")
@click.option(
    "--split",
    type=_FOLDER,
    metavar="DIR",
    help="One folder per person; some people are enrolled and searched for, the others are strangers.",
)
@click.option(
    "--degrade",
    type=_FOLDER,
    metavar="DIR",
    help="One folder per person; their photos are damaged in many ways, and strangers on them must stay strangers.",
)
@click.option(
    "--photos",
    type=click.IntRange(2),
    default=100,
    show_default=True,
    metavar="N",
    help="With --degrade, the most photos that are damaged: each takes some seconds.",
)
@click.option("--kinds", default="", metavar="KIND,...", help="With --degrade, only these kinds of damage.")
@click.option(
    "--subject",
    type=click.Choice(["central", "largest"]),
    default="central",
    show_default=True,
    help="Which face of a photo is used.",
)
@click.option(
    "--sizes",
    default="10,100,1000",
    show_default=True,
    metavar="N,...",
    help="Gallery sizes to measure, in people, in addition to everybody.",
)
@click.option(
    "--repeats",
    type=click.IntRange(1, 100),
    default=10,
    show_default=True,
    help="Minimum number of random galleries of each size.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random choices.")
@click.option(
    "--iou",
    type=click.FloatRange(0.05, 0.95),
    help="Minimum overlap (IoU) of a detection: 0.4 for faces and 0.5 for objects by default.",
)
@click.option("--engine", metavar="NAME", help="Embedder, or detector+embedder: dlib+sface, yunet+dlib, ...")
@click.option("--min-face", type=click.IntRange(1, 100_000), metavar="PIXELS", help="Ignore faces smaller than this.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 4),
    metavar="NUMBER",
    help="Maximum distance of a match; with --objects the minimum score.",
)
@click.option(
    "--json",
    "json_file",
    type=_FILE,
    is_flag=False,
    flag_value=_STDOUT,
    metavar="[FILE]",
    help="Write all figures to FILE, or to the standard output.",
)
@click.option("--plot", type=_FILE, metavar="FILE.png", help="Draw the curves into FILE; needs matplotlib.")
@click.option("--fresh", is_flag=True, help="Process all photos again, including those of earlier runs.")
@shared_options("engine")
def evaluate(
    pairs,
    boxes,
    objects,
    images,
    attributes,
    gallery,
    probes,
    split,
    degrade,
    photos,
    kinds,
    subject,
    sizes,
    repeats,
    seed,
    iou,
    engine,
    min_face,
    threshold,
    json_file,
    plot,
    fresh,
):
    """Measure the accuracy of an engine on your own photos.

    Give --pairs and --images, or --gallery and --probes, or --split, or --degrade, or --boxes and --images. Nobody is
    enrolled. The results of photos are cached in the state folder, so an interrupted run continues where it stopped. With a
    --provider other than the default, its drift from the default is measured as well. --objects and --images measure the
    object detector instead, --attributes and --images the estimates of age, gender and expression. docs/accuracy.md and
    docs/attributes.md explain the figures.
    """
    from recognizer.evaluation import plots, run
    from recognizer.evaluation.detection import IOU
    from recognizer.evaluation.identification import Plan

    _check_choice(pairs, boxes, objects, images, attributes, gallery, probes, split, degrade)
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
        if attributes:
            report["attributes"] = run.read_attributes(bench, attributes, images, _attribute_reader(settings))
            _finish(report, json_file, plot)
            return
        if pairs:
            report["verification"] = run.verify(bench, pairs, images)
        if gallery:
            report["identification"] = run.identify(bench, gallery, probes, plan)
        if split:
            report["identification"] = run.identify_split(bench, split, plan)
        if degrade:
            report["degraded"] = run.degraded(bench, degrade, photos, seed, _names(kinds))
        if boxes:
            report["detection"] = run.detect(bench, boxes, images, iou or IOU)
        if bench.source.provider != "cpu":
            folders = [folder for folder in (gallery, probes, split) if folder]
            report["drift"] = run.measure_drift(bench, pairs=pairs, boxes=boxes, images=images, folders=folders)
    _finish(report, json_file, plot)


def _finish(report: dict, json_file: Path | None, plot: Path | None) -> None:
    from recognizer.evaluation import plots

    if json_file and json_file != _STDOUT:
        _write(json_file, json.dumps(report, indent=1) + "\n")
    if plot:
        plots.draw_report(report, plot)
    if state().json or json_file == _STDOUT:
        emit(report)
    else:
        _show(report)


# -- what was asked -------------------------------------------------------------------------------------------------


def _check_choice(pairs, boxes, objects, images, attributes, gallery, probes, split, degrade) -> None:
    if not (pairs or boxes or objects or attributes or gallery or probes or split or degrade):
        expected = "--pairs, --gallery and --probes, --split, --degrade, --boxes, --objects, or --attributes"
        raise click.UsageError(f"expected {expected}")
    if attributes and (pairs or boxes or objects or gallery or probes or split or degrade):
        raise click.UsageError("--attributes has photos of its own: measure one after the other")
    if objects and (gallery or probes or split or degrade):
        raise click.UsageError("--objects measures another detector: measure one after the other")
    if bool(pairs) + bool(boxes) + bool(objects) > 1:
        raise click.UsageError("--pairs, --boxes and --objects have photos of their own: measure one after the other")
    if bool(pairs or boxes or objects or attributes) != bool(images):
        raise click.UsageError("--images goes with --pairs, --boxes, --objects or --attributes")
    if bool(gallery) != bool(probes):
        raise click.UsageError("--gallery and --probes go together")
    if split and gallery:
        raise click.UsageError("--split takes the place of --gallery and --probes")


def _check_outputs(*files: Path | None) -> None:
    """Refuse a missing output folder before hours of work, not after."""
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


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _settings(engine: str | None, changes: dict) -> Settings:
    """The settings in force, with the options of this command applied."""
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
    """Detector (None if not named) and embedder of a name such as ``yunet+dlib+sface``."""
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
    from recognizer.core.progress import Progress
    from recognizer.core.vault import open_vault
    from recognizer.engines import make_engine, require_provider, runs_on, weights_for
    from recognizer.enrolment.bulk import BulkSettings
    from recognizer.enrolment.cache import EncodingsCache
    from recognizer.evaluation.run import Bench
    from recognizer.weights import manifest

    provider = runs_on(settings.detector, settings.embedder, settings.provider)
    require_provider(provider)  # before anything is fetched
    with Progress("looking at photos", least=2) as progress:
        manifest.fetch(weights_for(settings.detector, settings.embedder), settings.models_dir, progress.download)
        names = ("detector", "embedder", "models_dir", "detect_size", "detect_size_large", "min_face", "hog_upsample")
        recipe = {name: getattr(settings, name) for name in names} | {"provider": provider}
        source = BulkSettings(
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


def _attribute_reader(settings: Settings):
    from recognizer.attributes.reader import AttributeReader, needed_networks
    from recognizer.core.answers import ATTRIBUTES
    from recognizer.core.progress import Progress
    from recognizer.weights import manifest

    with Progress() as progress:
        manifest.fetch(needed_networks(ATTRIBUTES), settings.models_dir, progress.download)
    return AttributeReader(ATTRIBUTES, settings.models_dir)


def _objects_report(labels: Path, folder: Path, iou: float | None, threshold: float | None) -> dict:
    from recognizer.core.progress import Progress
    from recognizer.evaluation import run
    from recognizer.evaluation.object_metrics import IOU
    from recognizer.photos.objects import GRAPH, WEIGHTS, ObjectDetector
    from recognizer.weights import manifest

    settings = state().settings()
    if threshold is not None:
        settings = settings.replace(object_threshold=threshold)
    limits = settings.max_image_bytes, settings.max_image_pixels
    with Progress("looking at photos", least=2) as progress:
        detector = ObjectDetector(*manifest.fetch((WEIGHTS, GRAPH), settings.models_dir, progress.download))
        measured = run.find_objects(detector, labels, folder, settings.object_threshold, iou or IOU, limits, progress.photos)
    return {**run.about_objects(), "objects": measured}


def _workers(settings: Settings) -> int:
    from recognizer.video.tracking.workers import cores

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
        raise InvalidParameter(f"{file}: the file cannot be written ({disk_reason(error)})") from None


# -- what came out, for people --------------------------------------------------------------------------------------


def _show(report: dict) -> None:
    click.echo(f"engine {report['engine']}, {report['date']}")
    for name, show in (
        ("verification", _verification),
        ("identification", _identification),
        ("detection", _detection),
        ("objects", _objects),
        ("attributes", _attributes),
    ):
        if name in report:
            click.echo()
            show(report[name])
            _lost(report[name]["photos_lost"])
    if "degraded" in report:
        click.echo()
        _degraded(report["degraded"])
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


def _degraded(part: dict) -> None:
    rows = []
    for row in part["rows"]:
        both, one = (f"{_percent(row[side])} ({_percent(row[side + '_before'])})" for side in ("both", "one"))
        named = ", ".join(_percent(row["fpir"][size]) for size in row["fpir"])
        named_both = ", ".join(_percent(row["fpir_both"][size]) for size in row["fpir_both"])
        rows.append(
            (
                row["name"],
                both,
                one,
                named_both,
                named,
                _percent(row["fnmr"]),
                _percent(row["unanswered"]),
                _percent(row["withheld"]),
            )
        )
    sizes = ", ".join(f"{int(size):,}" for size in part["rows"][0]["fpir"])
    heads = (
        "photos",
        "FMR, both sides (if all were compared)",
        "FMR, one side (if all were compared)",
        f"strangers named among {sizes}, both sides",
        "the same, one side",
        "FNMR, one side",
        "unanswered",
        "not comparable",
    )
    table(heads, rows)
    click.echo(
        f"{part['photos']} photos of {part['people']} people; FMR and FNMR at the threshold of verification, "
        f"set: FMR {_percent(part['false_match_rate'])}, strangers named {_percent(part['stranger_rate'])}"
    )


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
                label,
                one["objects"],
                one["found"],
                _percent(one["precision"]),
                _percent(one["recall"]),
                _figure(one["average_precision"]),
            )
            for label, one in by_count
        ],
    )
    if part["labels_not_known"]:
        say(f"labels that are not looked for: {', '.join(map(plain, part['labels_not_known']))}")


def _attributes(part: dict) -> None:
    click.echo(f"{part['faces']} faces on {part['photos']} photos")
    for name, rate in (("age", "within"), ("gender", "right"), ("expression", "right")):
        if name not in part:
            continue
        rows = []
        for split in ("all", "by_age", "by_gender", "by_group", "by_expression"):
            measured = {"all": part[name]["all"]} if split == "all" else part[name].get(split, {})
            for key, one in measured.items():
                row = [plain(key), one["faces"], one["answered"], _percent(one[rate]), _between(one[f"{rate}_interval"])]
                extra = ("mean_error", "bias", "width") if name == "age" else ("mean_probability",)
                rows.append((*row, *("-" if one[each] is None else f"{one[each]:.2f}" for each in extra)))
        heads = ["in the range", "95 % interval", "mean error", "bias", "width"]
        if name != "age":
            heads = ["right of answers", "95 % interval", "probability"]
        click.echo()
        table([name, "faces", "answered", *heads], rows)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _lost(photos: list[dict]) -> None:
    if photos:
        shown = ", ".join(f"{plain(each['photo'])} [{each['problem']}]" for each in photos[:_SHOWN])
        say(f"{plural(len(photos), 'photo')} lost: {shown}{', ...' if len(photos) > _SHOWN else ''}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _between(interval) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %"


COMMANDS = (evaluate,)
