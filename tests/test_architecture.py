"""Which way imports point: read from the sources, and held to one table, which docs/architecture.md shows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "recognizer"

#: Rooms (modules, and packages taken as one), the lowest first. A room imports from the rows below its own, never from
#: its own row or from above: imports inside functions count as well.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "logs", "headers", "origins", "children", "files", "framing"),
    (
        "types", "exporting", "settings", "names", "image_headers", "fetch", "package_index", "pool", "reload", "wsgi",
        "metrics", "openapi", "pages", "tls", "rates", "access_file", "adjustments", "vault", "consent", "changes",
    ),
    ("decoders",),
    ("sandbox",),
    ("geometry", "matching", "clustering", "images", "download", "encodings", "server", "observing", "keys", "audit"),
    (
        "models", "galleries", "folder", "quality", "duplicates", "fonts", "bodies", "sources", "sessions",
        "subject_export", "template_file", "backup_file",
    ),
    ("engines", "results", "progress", "auth", "refusals"),
    ("objects", "strangers"),
    ("examination", "evaluation", "face_recognition", "annotate", "replies"),
    ("enrolment", "video", "vision", "inbox", "archive"),
    ("watcher", "review", "closeness", "contact_sheet", "retention", "encryption"),
    ("backup", "restore"),
    ("service",),
    ("people", "doctor"),
    ("commands",),
    ("cli",),
    ("__init__", "__main__", "api"),
)
#: Rooms that may know the settings: whoever puts the parts together, and the entry points.
SETTINGS_READERS = {"service", "people", "doctor", "commands", "cli", "api"}
#: Who touches the process's environment, and what for.
ENVIRONMENT = {
    "__init__.py": "keeps ONNX Runtime from calling its makers",
    "settings.py": "the settings",
    "package_index.py": "what pip and uv are set to",
    "reload.py": "hands the listening socket to the process that replaces this one",
    "cli.py": "quietens OpenCV",
    "children.py": "handed on to the processes that decode, without what is secret",
    "video/decoder.py": "a process of its own: FFmpeg's options for OpenCV",
}
#: What takes long to import, or is not there everywhere: imported where it is used.
HEAVY = {
    "PIL", "argon2", "cryptography", "cv2", "dlib", "fsspec", "google", "limits", "loky", "matplotlib", "onnx",
    "onnxruntime", "paho", "pi_heif", "prometheus_client", "pyarrow", "pycocotools", "requests", "rich", "simplejpeg",
    "watchfiles",
}  # fmt: skip
#: Modules that are pure: what they may import beside the standard library.
PURE = {
    "types": {"numpy", "errors"}, "geometry": {"numpy"}, "matching": {"numpy", "types", "errors"},
    "clustering": {"numpy", "dlib"},
}  # fmt: skip
#: Who may know hug. It is unmaintained: nothing below the routes depends on it.
HUG = {"api.py"}

FILES = [ROOT / "api.py", *sorted(PACKAGE.rglob("*.py"))]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def shown(file: Path) -> str:
    return str(file.relative_to(PACKAGE if PACKAGE in file.parents else ROOT))


def room_of(file: Path) -> str:
    return Path(shown(file)).parts[0].removesuffix(".py")


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(file: Path, inside_functions: bool = True) -> Iterator[str]:
    """Full dotted names of what a file imports; ``from a import b`` gives ``a.b``."""
    package = ["recognizer", *file.relative_to(PACKAGE).parts[:-1]] if PACKAGE in file.parents else []

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                yield from (".".join([*base, *filter(None, [child.module]), alias.name]) for alias in child.names)
            elif only_for_types(child):
                continue
            elif inside_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                yield from walk(child)

    return walk(ast.parse(file.read_text("utf-8")))


def rooms_imported(file: Path) -> set[str]:
    """Rooms of this package that a file imports from, its own left out; names of the package itself are no rooms."""
    names = [name.split(".") for name in imports(file) if name.split(".")[0] == "recognizer"]
    rooms = {name[1] for name in names if len(name) > 1} - {room_of(file)}
    return {room for room in rooms if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()}


def top_packages(file: Path, **options) -> set[str]:
    return {name.split(".")[0] for name in imports(file, **options)}


def table() -> str:
    """The layers as docs/architecture.md shows them, entry points first."""
    return "\n".join(["```", *("  ".join(rooms) for rooms in reversed(LAYERS)), "```"])


@pytest.mark.parametrize("file", FILES, ids=shown)
def test_every_file_has_its_place_and_imports_only_from_below(file):
    room = room_of(file)
    assert room in LEVEL, f"{shown(file)} is in no row of LAYERS"
    above = {other for other in rooms_imported(file) if LEVEL[other] >= LEVEL[room]}
    assert not above, f"{shown(file)} imports from its own row or from above: {sorted(above)}"


def test_every_room_of_the_table_exists_once():
    rooms = [room for row in LAYERS for room in row]
    assert sorted(rooms) == sorted(set(rooms)) == sorted({room_of(file) for file in FILES})


@pytest.mark.parametrize("room", PURE)
def test_pure_modules_stay_pure(room):
    allowed = PURE[room]
    found = set()
    for name in imports(PACKAGE / f"{room}.py"):
        parts = name.split(".")
        found.add(parts[1] if parts[0] == "recognizer" else parts[0])
    assert {name for name in found if name not in sys.stdlib_module_names} <= allowed


def test_engines_and_galleries_know_nothing_of_each_other():
    for file in FILES:
        if room_of(file) in ("engines", "galleries"):
            assert not rooms_imported(file) & {"engines", "galleries", "encodings", "enrolment", "service"}


def test_only_the_routes_know_hug():
    assert {shown(file) for file in FILES if "hug" in top_packages(file)} == HUG


def test_only_whoever_puts_the_parts_together_knows_the_settings():
    readers = {room_of(file) for file in FILES if "settings" in rooms_imported(file)}
    assert readers <= SETTINGS_READERS


def test_only_these_touch_the_environment():
    touching = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv", "os.putenv"):
                touching.add(shown(file))
        assert not {"os.environ", "os.getenv"} & set(imports(file))
    assert touching == set(ENVIRONMENT)


@pytest.mark.parametrize("file", FILES, ids=shown)
def test_heavy_packages_are_imported_where_they_are_used(file):
    assert not top_packages(file, inside_functions=False) & HEAVY


@pytest.mark.parametrize(
    "module",
    ["recognizer", "recognizer.settings", "recognizer.errors", "recognizer.engines", "recognizer.enrolment", "recognizer.cli"],
)
def test_importing_loads_nothing_heavy(module):
    program = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & (HEAVY | {"hug", "face_recognition", "face_recognition_models"})


def test_the_documentation_shows_the_table():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    found = re.search(r"<!-- layers -->\n(.*?)\n<!-- /layers -->", text, re.DOTALL)
    assert found, "docs/architecture.md lacks the marks <!-- layers --> and <!-- /layers -->"
    assert found[1].strip() == table().strip(), f"put this between the marks:\n{table()}"
