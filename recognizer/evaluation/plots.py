"""The curves of a report as one image, drawn by matplotlib, which only this module needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from recognizer.core.disk import disk_reason
from recognizer.core.errors import InvalidParameter, StorageError

_BLUE, _ORANGE, _GREY = "#1f6fb4", "#d9722e", "#777777"
_LABELS_SHOWN = 15


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises
    ------
    InvalidParameter
        It is not; the message says how to install it.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InvalidParameter("drawing curves needs matplotlib, which is not installed: pip install matplotlib")


def draw_report(report: dict[str, Any], file: Path) -> None:
    """Draw the curves of a report of `run` to a PNG file.

    Raises
    ------
    InvalidParameter
        matplotlib is not installed.
    StorageError
        The file cannot be written.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    panels = []
    if "verification" in report:
        panels += [(_roc, report["verification"]), (_distances, report["verification"])]
    if "identification" in report:
        panels += [(_det, report["identification"]), (_strangers, report["identification"])]
    if "detection" in report:
        panels += [(_precision, report["detection"]), (_recall, report["detection"])]
    if "attributes" in report:
        panels += [(_looks_by_age, report["attributes"]), (_looks_by_group, report["attributes"])]
    if "objects" in report:
        panels += [(_object_rates, report["objects"]), (_object_labels, report["objects"])]
    rows = len(panels) // 2
    figure = Figure(figsize=(11, 4.2 * rows), layout="constrained")
    figure.suptitle(f"{report['engine']}, {report['date']}")
    for (panel, part), axes in zip(panels, figure.subplots(rows, 2, squeeze=False).ravel(), strict=True):
        panel(axes, part)
    try:
        figure.savefig(file, format="png", dpi=110)
    except OSError as error:
        raise StorageError(f"the image cannot be written ({disk_reason(error)})") from error


def _roc(axes, part: dict) -> None:
    axes.set(xlabel="false-match rate (FMR)", ylabel="true accepts (1 - FNMR)", title="One against one")
    if not part["roc"]:  # there are no impostor pairs
        return
    fmr, tar, _ = zip(*part["roc"], strict=True)
    least = 1 / max(1, part["pairs_different"])
    axes.step([max(rate, least / 2) for rate in fmr], tar, where="post", color=_BLUE)
    keys = [key for key in part["tar"] if part["tar_measurable"][key]]
    low = [part["tar"][key] - part["tar_interval"][key][0] for key in keys]
    high = [part["tar_interval"][key][1] - part["tar"][key] for key in keys]
    axes.errorbar([float(k) for k in keys], [part["tar"][k] for k in keys], [low, high], fmt="o", color=_ORANGE)
    axes.set_xscale("log")
    axes.grid(alpha=0.3)


def _distances(axes, part: dict) -> None:
    shown = part["histogram"]
    for key, colour in (("same", _BLUE), ("different", _ORANGE)):
        axes.stairs(
            shown[key],
            shown["edges"],
            fill=True,
            alpha=0.5,
            color=colour,
            label={"same": "one person", "different": "two people"}[key],
        )
    axes.axvline(part["threshold"], color=_GREY, linestyle="--", label=f"threshold {part['threshold']:.3f}")
    axes.set(xlabel="distance", ylabel="pairs", title="Distances")
    axes.legend()


def _det(axes, part: dict) -> None:
    for name, size in part["by_size"].items():
        points = [(fpir, fnir) for fpir, fnir, _ in size["det"] if fpir > 0]
        if points:
            axes.plot(*zip(*points, strict=True), label=f"{size['people']} people" + (" (all)" if name == "all" else ""))
    axes.set(xlabel="strangers named (FPIR)", ylabel="enrolled not named (FNIR)", title="One against many")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.set_xscale("log")
        axes.legend()


def _strangers(axes, part: dict) -> None:
    axes.set(xlabel="people enrolled", ylabel="strangers named (FPIR)", title="Strangers named, as set and as measured")
    sizes = [size for size in part["by_size"].values() if size["fpir"] is not None]
    if not sizes:  # there are no probes of strangers
        return
    x, y = [size["people"] for size in sizes], [size["fpir"] for size in sizes]
    low = [size["fpir"] - size["fpir_interval"][0] for size in sizes]
    high = [size["fpir_interval"][1] - size["fpir"] for size in sizes]
    axes.errorbar(x, y, [low, high], fmt="o-", color=_BLUE, label="measured, with 95 % interval")
    if part["stranger_rate"] is not None:
        axes.axhline(part["stranger_rate"], color=_GREY, linestyle="--", label="setting")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.legend()


def _precision(axes, part: dict) -> None:
    for key, points in part["curve"].items():
        if points:
            recall, precision, _ = zip(*points, strict=True)
            axes.plot(recall, precision, label=f"faces {key} px")
    axes.set(xlabel="recall", ylabel="precision", title="Finding faces")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()


def _recall(axes, part: dict) -> None:
    keys = [key for key, value in part["recall"].items() if value is not None]
    values = [part["recall"][key] for key in keys]
    errors = [
        [max(0.0, part["recall"][k] - part["recall_interval"][k][0]) for k in keys],
        [max(0.0, part["recall_interval"][k][1] - part["recall"][k]) for k in keys],
    ]
    axes.bar([f"{key} px" for key in keys], values, yerr=errors, color=_BLUE, alpha=0.7, capsize=4)
    axes.set(ylim=(0, 1.02), ylabel="recall", title="Recall by the face's height")


def _object_rates(axes, part: dict) -> None:
    for place, name, colour in ((1, "precision", _BLUE), (2, "recall", _ORANGE)):
        points = [(point[0], point[place]) for point in part["curve"] if point[place] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, label=name)
    axes.axvline(part["threshold"], color=_GREY, linestyle="--", label=f"threshold {part['threshold']:g}")
    axes.set(xlabel="least score", ylim=(0, 1.02), title="Finding objects")
    axes.grid(alpha=0.3)
    axes.legend()


def _object_labels(axes, part: dict) -> None:
    rows = [(one["objects"], label, one["recall"]) for label, one in part["by_label"].items() if one["objects"]]
    rows = sorted(rows, reverse=True)[:_LABELS_SHOWN][::-1]
    axes.barh([f"{label} ({count})" for count, label, _ in rows], [recall for *_, recall in rows], color=_BLUE, alpha=0.7)
    axes.set(xlim=(0, 1.02), xlabel="recall", title="Recall of the most frequent labels")


def _looks_by_age(axes, part: dict) -> None:
    """Rates by age with their intervals: ages in the range, and genders right of those said."""
    for name, rate, label, colour in (
        ("age", "within", "age in the range", _BLUE),
        ("gender", "right", "gender right, of those said", _ORANGE),
    ):
        _with_intervals(axes, part.get(name, {}).get("by_age", {}), rate, label, colour)
    axes.set(xlabel="age", ylim=(0, 1.02), title="How true attributes are, by age")
    axes.grid(alpha=0.3)
    axes.legend()


def _looks_by_group(axes, part: dict) -> None:
    """The same rates by gender, group and expression."""
    for name, rate, label, colour in (
        ("age", "within", "age in the range", _BLUE),
        ("gender", "right", "gender right, of those said", _ORANGE),
        ("expression", "right", "expression right, of those said", _GREY),
    ):
        found = part.get(name, {})
        rows = {"all": found["all"]} if found else {}
        for split in ("by_gender", "by_group", "by_expression"):
            rows |= found.get(split, {})
        _with_intervals(axes, rows, rate, label, colour)
    axes.tick_params(axis="x", rotation=30)
    axes.set(ylim=(0, 1.02), title="By gender, group and expression")
    axes.grid(alpha=0.3)
    axes.legend()


def _with_intervals(axes, rows: dict, rate: str, label: str, colour: str) -> None:
    known = {key: one for key, one in rows.items() if one[rate] is not None}
    if known:
        low, high = zip(*(one[f"{rate}_interval"] for one in known.values()), strict=True)
        rates = [one[rate] for one in known.values()]
        spread = [
            [each - least for each, least in zip(rates, low, strict=True)],
            [most - each for each, most in zip(rates, high, strict=True)],
        ]
        axes.errorbar(list(known), rates, yerr=spread, fmt="o", capsize=3, color=colour, label=label)
