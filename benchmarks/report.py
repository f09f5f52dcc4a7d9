"""What the measuring scripts share: arguments, tables, the machine in words, fair rounds, processes that are always ended.

Importing it makes the package importable from the repository that the script lies in.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_DATA = os.environ.get("TEST_DATA_DIR")
#: Distributions that are named otherwise than what is imported.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml"}
PACKAGES = ("numpy", "onnxruntime", "opencv-python-headless", "dlib-bin", "face_recognition", "pillow")


# -- arguments -------------------------------------------------------------------------------------------------------


def parser(description: str, *, data: bool = False, work: bool = False) -> argparse.ArgumentParser:
    """A parser with the arguments that all scripts have; with `data`, --data too, and with `work`, --work."""
    made = argparse.ArgumentParser(description=description.strip().splitlines()[0])
    made.add_argument("--json", metavar="FILE", type=Path, help="write the figures to FILE too")
    made.add_argument("--quick", action="store_true", help="less of everything, under a minute; figures are rough")
    if data:
        default = Path(_DATA or ROOT.parent / "shared" / "data")
        made.add_argument("--data", metavar="DIR", type=Path, default=default, help="folder of the measuring data")
    if work:
        default = Path(tempfile.gettempdir()) / "recognizer-benchmarks"
        made.add_argument("--work", metavar="DIR", type=Path, default=default, help="folder of what later runs reuse")
    return made


def need(folder: Path, *parts: str) -> Path:
    """The folder or file below the data folder, or the end of the script with a sentence."""
    path = folder.joinpath(*parts)
    if not path.exists():
        raise SystemExit(f"The data is missing: expected {Path(*parts)} in the folder that --data or TEST_DATA_DIR names.")
    return path


def need_packages(*names: str) -> None:
    """End the script with a sentence where a package is missing that only benchmarks need."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(_missing(missing))


def _missing(names: Sequence[str]) -> str:
    """The sentence for packages that `make setup` does not install, with what installs them."""
    lists = {_list_of(name) for name in names}
    return f"This script also needs {', '.join(names)}: .venv/bin/python -m pip install -r {' -r '.join(sorted(lists))}"


def _list_of(name: str) -> str:
    """The list of requirements that has a package; that of the benchmarks where none has it."""
    wanted = _DISTRIBUTIONS.get(name, name).lower().replace("_", "-")
    for file in sorted(ROOT.glob("requirements*.txt")):
        for line in file.read_text("utf-8").splitlines():
            if re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0].lower().replace("_", "-") == wanted:
                return file.name
    return "requirements-benchmarks.txt"


def _say_what_is_missing(kind, error, trace) -> None:
    """Instead of a traceback, the sentence for a package that is missing wherever a script imports it."""
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if not issubclass(kind, ModuleNotFoundError) or not name or (ROOT / name).exists() or (ROOT / "benchmarks" / name).exists():
        return sys.__excepthook__(kind, error, trace)
    print(_missing([name]), file=sys.stderr)


sys.excepthook = _say_what_is_missing


# -- results ---------------------------------------------------------------------------------------------------------


def machine() -> dict[str, str | int]:
    """Processor, cores and versions: what a figure depends on, and nothing that identifies the machine."""
    names = {"processor": _processor(), "cores": cores(), "system": f"{platform.system()} {platform.machine()}"}
    names["python"] = platform.python_version()
    for package in PACKAGES:
        try:
            names[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return names


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def table(rows: Sequence[Mapping], title: str = "") -> None:
    """Print rows as a Markdown table; the columns are the first row's keys."""
    if title:
        print(f"\n{title}\n")
    if not rows:
        return
    cells = [list(rows[0]), *([_shown(key, row.get(key)) for key in rows[0]] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    cells.insert(1, ["-" * width for width in widths])
    for line in cells:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |", flush=True)


def _shown(key: str, value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        if key.endswith("ratio"):
            return f"{value:.2f}x" if value < 10 else f"{value:.0f}x"
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def save(options: argparse.Namespace, **tables) -> None:
    """Write the tables, the machine and the date as JSON if --json was given."""
    if options.json:
        content = {"machine": machine(), "date": date.today().isoformat(), "quick": options.quick, **tables}
        options.json.write_text(json.dumps(content, indent=1, default=float) + "\n")


# -- measuring -------------------------------------------------------------------------------------------------------


def alternate(calls: Mapping[str, Callable[[], object]], rounds: int, warm: int = 1) -> dict[str, dict[str, float]]:
    """Median wall and processor milliseconds of each call, taken in turns so that whatever drifts hits all alike.

    Processor time is that of all threads of this process. The first `warm` rounds are not counted.
    """
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warm + rounds):
        names = list(calls) if turn % 2 == 0 else list(calls)[::-1]
        for name in names:
            started, used = time.perf_counter(), time.process_time()
            calls[name]()
            if turn >= warm:
                wall[name].append(1000 * (time.perf_counter() - started))
                cpu[name].append(1000 * (time.process_time() - used))
    return {name: {"wall": statistics.median(wall[name]), "cpu": statistics.median(cpu[name])} for name in calls}


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the values lie; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


@contextmanager
def child(command: Sequence, **keywords) -> Iterator[subprocess.Popen]:
    """A process that runs while the block does; ended by its id, killed if it does not listen."""
    process = subprocess.Popen([str(part) for part in command], **keywords)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
