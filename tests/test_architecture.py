"""Which way imports point: import-linter checks the contracts in pyproject.toml; docs/architecture.md shows the layers."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from . import toml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "recognizer"

#: Packages and modules that may know the settings: those that put the parts together, and the entry points.
SETTINGS_READERS = {"service", "people", "doctor", "spark", "commands", "cli", "api", "http/site.py", "http/early.py"}
#: Who touches the process's environment, and what for.
ENVIRONMENT = {
    "engines/runtime.py": "keeps ONNX Runtime from calling its makers, and OpenCV from spinning",
    "core/settings.py": "the settings",
    "weights/index_settings.py": "what pip and uv are set to",
    "weights/npm_registry.py": "what npm is set to",
    "http/reload.py": "hands the listening socket to the process that replaces this one",
    "cli.py": "quietens OpenCV",
    "spark/spark_session.py": "which Python the workers of Spark are, and where they find this package",
    "commands/cmd_serve.py": "hands its options to the server as settings",
    "core/children.py": "handed on to the processes that decode, without what is secret",
    "video/sources/decoder.py": "a process of its own: FFmpeg's options for OpenCV",
}
#: What takes long to import, or is not there everywhere: imported where it is used.
HEAVY = {
    "PIL",
    "argon2",
    "cryptography",
    "cv2",
    "dlib",
    "fsspec",
    "google",
    "limits",
    "loky",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "paho",
    "pi_heif",
    "prometheus_client",
    "pyarrow",
    "pycocotools",
    "pyspark",
    "requests",
    "rich",
    "scipy",
    "simplejpeg",
    "watchfiles",
}
#: Modules that are pure: what they may import beside the standard library.
PURE = {
    "core/types": {"numpy", "recognizer.core.errors"},
    "core/geometry": {"numpy"},
    "galleries/matching": {"numpy", "recognizer.core.types", "recognizer.galleries.thresholds"},
    "galleries/thresholds": {"numpy", "recognizer.core.types"},
    "galleries/clustering": {"numpy", "dlib"},
    "galleries/similarity": {"recognizer.galleries.thresholds"},
}
#: Who may know hug. It is unmaintained: nothing below the routes depends on it.
HUG = ("api.py", "commands/cmd_serve.py", "http/hug_adapter.py", "http/parameters.py", "http/routes/", "http/compat/")
LINT = "import sys; from importlinter import cli; sys.exit(cli.lint_imports(cache_dir=None))"

FILES = [ROOT / "api.py", *sorted(PACKAGE.rglob("*.py"))]
CONTRACTS = {
    contract["id"]: contract
    for contract in toml.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
}


def shown(file: Path) -> str:
    return str(file.relative_to(PACKAGE if PACKAGE in file.parents else ROOT))


def room_of(file: Path) -> str:
    return Path(shown(file)).parts[0].removesuffix(".py")


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


class Read(NamedTuple):
    """What the tests want to know of a file, which is parsed once."""

    everywhere: tuple[str, ...]
    outside_functions: tuple[str, ...]
    classes: tuple[str, ...]
    environment: bool


@functools.cache
def read(file: Path) -> Read:
    tree = ast.parse(file.read_text("utf-8"))
    return Read(
        tuple(imported(file, tree, inside_functions=True)),
        tuple(imported(file, tree, inside_functions=False)),
        tuple(node.name for node in tree.body if isinstance(node, ast.ClassDef)),
        any(touches_environment(node) for node in ast.walk(tree)),
    )


def touches_environment(node: ast.AST) -> bool:
    named = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv")
    return named and isinstance(node.value, ast.Name) and node.value.id == "os"


def imports(file: Path, inside_functions: bool = True) -> tuple[str, ...]:
    return read(file).everywhere if inside_functions else read(file).outside_functions


def imported(file: Path, tree: ast.AST, inside_functions: bool) -> Iterator[str]:
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

    return walk(tree)


def own_modules(file: Path) -> set[str]:
    """The package's own modules that a file imports, by their full names."""
    found = set()
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "recognizer":
            path = PACKAGE.joinpath(*parts[1:])
            found.add(name if path.is_dir() or path.with_suffix(".py").is_file() else ".".join(parts[:-1]))
    return found


def top_packages(file: Path, **options) -> set[str]:
    return {name.split(".")[0] for name in imports(file, **options)}


def table() -> str:
    """The layers as docs/architecture.md shows them, entry points first."""
    return "\n".join(["```", *(layer.replace(" | ", "  ") for layer in CONTRACTS["layers"]["layers"]), "```"])


def test_imports_keep_to_the_contracts():
    """pyproject.toml has them: the layers, no circles between or inside packages, engines and galleries apart."""
    done = subprocess.run([sys.executable, "-c", LINT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


#: Modules of `recognizer.video` that only re-export, under the addresses that docs/video.md promises.
RE_EXPORTS = {"video/camera.py", "video/pattern.py", "video/results.py", "video/source.py", "video/watching.py"}


@pytest.mark.slow
def test_a_name_names_one_thing():
    """No two public classes of the package share a name, nor two modules."""
    classes, modules = Counter(), Counter()
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.name != "__init__.py" and shown(file) not in RE_EXPORTS:
            modules[file.stem] += 1
        classes.update(name for name in read(file).classes if not name.startswith("_"))
    assert not {name for name, count in (classes + modules).items() if count > 1}


@pytest.mark.parametrize("name", sorted(RE_EXPORTS))
def test_the_modules_that_re_export_do_nothing_else(name):
    tree = ast.parse((PACKAGE / name).read_text("utf-8"))
    assert all(isinstance(node, (ast.Expr, ast.ImportFrom, ast.Assign)) for node in tree.body)
    names = importlib.import_module(f"recognizer.{name.removesuffix('.py').replace('/', '.')}")
    assert all(hasattr(names, each) for each in names.__all__)


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_stay_pure(module):
    found = own_modules(PACKAGE / f"{module}.py") | top_packages(PACKAGE / f"{module}.py")
    assert {name for name in found - {"recognizer"} if name not in sys.stdlib_module_names} <= PURE[module]


def test_only_the_routes_know_hug():
    knowing = {shown(file) for file in FILES if "hug" in top_packages(file)}
    assert "http/hug_adapter.py" in knowing and all(name.startswith(HUG) for name in knowing), knowing


def test_only_what_puts_the_parts_together_knows_the_settings():
    readers = {shown(file) for file in FILES if "recognizer.core.settings" in own_modules(file)}
    assert not {name for name in readers if name != "api.py" and not {name, room_of(PACKAGE / name)} & SETTINGS_READERS}


def test_only_these_touch_the_environment():
    for file in FILES:
        assert not {"os.environ", "os.getenv"} & set(imports(file))
    assert {shown(file) for file in FILES if read(file).environment} == set(ENVIRONMENT)


@pytest.mark.parametrize("file", FILES, ids=shown)
def test_heavy_packages_are_imported_where_they_are_used(file):
    assert not top_packages(file, inside_functions=False) & HEAVY


@pytest.mark.parametrize(
    "module",
    [
        "recognizer",
        "recognizer.core.settings",
        "recognizer.core.errors",
        "recognizer.engines",
        "recognizer.enrolment.enrolment",
        "recognizer.cli",
    ],
)
def test_importing_loads_nothing_heavy(module):
    program = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & (HEAVY | {"asyncio", "hug", "face_recognition", "face_recognition_models"})


def test_the_documentation_shows_the_table():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    found = re.search(r"<!-- layers -->\n(.*?)\n<!-- /layers -->", text, re.DOTALL)
    assert found, "docs/architecture.md lacks the marks <!-- layers --> and <!-- /layers -->"
    assert found[1].strip() == table().strip(), f"put this between the marks:\n{table()}"
