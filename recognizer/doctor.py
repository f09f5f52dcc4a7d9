"""Checks of an installation, with advice. Nothing is changed or repaired here.

Packages are imported in processes of their own: one that crashes (a wheel for another processor, a library that is
missing) is a finding, and the command itself stays quick.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.metadata
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from recognizer.core.disk import disk_reason
from recognizer.core.errors import KeyMissing, ModelError, ModelMissing, RecognizerError, SettingsError, StorageError
from recognizer.core.settings import Settings
from recognizer.core.wording import plural
from recognizer.weights import manifest

OK, WARNING, BROKEN = "ok", "warning", "broken"
OLDEST, NEWEST_TRIED = (3, 10), (3, 13)
INSTALL = "Run `make setup`, or `python -m pip install -r requirements.txt` in the project's folder."
#: Modules and the distributions that contain them, in the order of requirements.txt.
PACKAGES = {
    "hug": "hug", "cheroot": "cheroot", "multipart": "multipart", "argon2": "argon2-cffi",
    "cryptography": "cryptography", "limits": "limits", "numpy": "numpy", "cv2": "opencv-python-headless",
    "dlib": "dlib-bin", "face_recognition_models": "face_recognition_models", "onnxruntime": "onnxruntime",
    "faiss": "faiss-cpu",
    "google.protobuf": "protobuf", "loky": "loky", "PIL": "pillow", "pi_heif": "pi-heif",
    "simplejpeg": "simplejpeg", "requests": "requests", "certifi": "certifi", "idna": "idna", "filelock": "filelock",
    "prometheus_client": "prometheus-client",
    "platformdirs": "platformdirs", "pycocotools.cocoeval": "pycocotools",
    "watchfiles": "watchfiles", "click": "click", "rich": "rich", "paho.mqtt.client": "paho-mqtt",
    "jinja2": "jinja2",
}  # fmt: skip
if sys.platform == "darwin" and platform.machine() != "arm64":  # there is no wheel, and sketches take its place
    del PACKAGES["faiss"]
_IMPORT_SECONDS = 60
_LEAST_MEMORY, _LEAST_DISK = 700_000_000, 200_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `advice` says what to do; None if nothing has to be done."""

    name: str
    state: str
    found: str
    advice: str | None = None

    def as_dict(self) -> dict:
        return asdict(self)


def examine(overrides: dict, port: int) -> list[Finding]:
    """Run all checks.

    Parameters
    ----------
    overrides : dict
        Settings that win over the environment's.
    port : int
        The port that the server is to have.
    """
    settings, finding = _settings(overrides)
    checks: list[Callable[[], Iterable[Finding]]] = [
        lambda: [finding, python()],
        packages,
        lambda: weights(settings),
        dlib_files,
        lambda: [folder("known faces", settings.known_faces, "RECOGNIZER_KNOWN_FACES")],
        lambda: [folder("state", settings.state_dir, "RECOGNIZER_STATE_DIR", own=True)],
        lambda: [access(settings)],
        lambda: [encryption(settings)],
        lambda: frigate(settings),
        lambda: [cache(settings.state_dir / "encodings.sqlite")],
        lambda: [watching(settings)],
        lambda: [port_free(settings.host, port), clock(), memory()],
        lambda: [disk(settings.state_dir)],
    ]
    return [found for check in checks for found in _findings(check)]


def _findings(check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What a check found; also if it met a file that may not even be looked for."""
    try:
        return list(check())
    except OSError as error:
        place = f"{error.filename} cannot be used" if error.filename else "a file cannot be used"
        advice = "Give the user that runs the server rights to it, or change the setting that names it."
        return [Finding("files", BROKEN, f"{place}: {disk_reason(error)}", advice)]


def _settings(overrides: dict) -> tuple[Settings, Finding]:
    try:
        settings = Settings.from_environment(**overrides)
        without_effect = settings.without_effect()
        if without_effect:
            advice = "Set what is missing, or unset what has no effect."
            return settings, Finding("settings", WARNING, "; ".join(without_effect), advice)
        return settings, Finding("settings", OK, "all valid")
    except SettingsError as error:
        advice = "Correct or unset that environment variable; `python -m recognizer settings` lists them all."
        return Settings.from_environment({}, **overrides), Finding("settings", BROKEN, error.message, advice)


def python(version: tuple[int, int] | None = None) -> Finding:
    """Whether this Python version is supported."""
    version = version or sys.version_info[:2]
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    wanted = f"Python {'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST_TRIED))}"
    if version < OLDEST:
        return Finding("python", BROKEN, found, f"Make the environment with {wanted}: `make setup PYTHON=python3.12`.")
    if version > NEWEST_TRIED:
        return Finding("python", WARNING, found, f"This works on {wanted}; if a package fails below, use one of these.")
    return Finding("python", OK, found)


# -- packages -----------------------------------------------------------------------------------------------------


def packages(names: Iterable[str] = tuple(PACKAGES)) -> list[Finding]:
    """Whether each package can be imported, and which version it is."""
    with ThreadPoolExecutor(os.cpu_count() or 2) as executor:
        return list(executor.map(package, names))


def package(module: str) -> Finding:
    """Import one module in a process of its own."""
    version = _version(PACKAGES.get(module, module))
    code = f"import {module}"
    if module == "dlib":
        code += "; print(dlib.USE_AVX_INSTRUCTIONS, dlib.DLIB_USE_CUDA)"
    run = [sys.executable, "-W", "ignore", "-c", code]
    try:
        done = subprocess.run(run, capture_output=True, text=True, timeout=_IMPORT_SECONDS, errors="replace")
    except subprocess.TimeoutExpired:
        return Finding(module, BROKEN, f"importing it took over {_IMPORT_SECONDS} s", "See if the disk is very slow.")
    if done.returncode == 0:
        return _dlib(version, done.stdout) if module == "dlib" else Finding(module, OK, version or "")
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode < 0:
        last = f"importing it ended the process by signal {-done.returncode}"
    return Finding(module, BROKEN, last[:200], _advice(module, last, done.returncode))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _dlib(version: str | None, printed: str) -> Finding:
    avx, cuda = printed.split()[-2:]
    built = f"the ready-built wheel {version}" if version else f"compiled here, {_version('dlib')}"
    found = f"{built}; AVX {_yes(avx)}, CUDA {_yes(cuda)}"
    if avx != "True" and platform.machine() in ("x86_64", "AMD64"):
        return Finding("dlib", WARNING, found, f"It was compiled without AVX, which makes it slower. {INSTALL}")
    return Finding("dlib", OK, found)


def _yes(word: str) -> str:
    return "yes" if word == "True" else "no"


def _advice(module: str, error: str, code: int) -> str:
    if code == -4:
        return "This processor lacks instructions that the package was built for: install it from source."
    if module == "cv2" and ".so" in error:
        return (
            "A system library is missing: the package opencv-python needs it and opencv-python-headless does not. "
            "Uninstall opencv-python, then install opencv-python-headless."
        )
    if module == "hug" and "unicode_" in error:
        return f"NumPy 2 lacks a name that hug reads, and packaging/hug-numpy2 is not installed. {INSTALL}"
    if "pkg_resources" in error or "distutils" in error:
        return f"It needs setuptools below 81. {INSTALL}"
    return INSTALL


# -- weights ------------------------------------------------------------------------------------------------------


def weights(settings: Settings) -> Iterator[Finding]:
    """Whether the downloaded weights are present, with the right hashes."""
    for key, asset in manifest.MANIFEST.items():
        try:
            manifest.verify(key, settings.models_dir)
            yield Finding(f"weights {key}", OK, f"there, hash right ({asset.file})")
        except ModelError as error:
            if asset.part_of and isinstance(error, ModelMissing):
                yield Finding(f"weights {key}", OK, f"not there; fetched when {asset.part_of} are first asked for")
                continue
            fetch = f"fetch {asset.part_of}" if asset.part_of else "fetch"
            advice = f"Run `python -m recognizer models {fetch}`; the server does so by itself when it needs them."
            yield Finding(f"weights {key}", BROKEN, error.code.replace("_", " "), advice)
        except StorageError as error:
            advice = "Check RECOGNIZER_MODELS_DIR and the permissions of that folder."
            yield Finding(f"weights {key}", BROKEN, error.message, advice)


def dlib_files() -> Iterator[Finding]:
    """Whether dlib's weights, which are part of a package, are present, with the right hashes."""
    wrong = []
    for name in manifest.DLIB_FILES:
        try:
            manifest.verify_dlib_file(name)
        except ModelError as error:
            wrong.append(f"{name}: {error.code.replace('_', ' ')}")
    if wrong:
        advice = "Run `python -m pip install --force-reinstall --no-deps face_recognition_models`."
        yield Finding("weights of dlib", BROKEN, "; ".join(wrong), advice)
    else:
        yield Finding("weights of dlib", OK, f"{len(manifest.DLIB_FILES)} files there, hashes right")


# -- folders ------------------------------------------------------------------------------------------------------


def folder(name: str, path: Path, variable: str, *, own: bool = False) -> Finding:
    """Whether a folder can be read and written, or created; whether its clock agrees; if `own`, whether others can read it."""
    shown = str(path.absolute())
    advice = f"Give the user that runs the server rights to {shown}, or set {variable} to another folder."
    try:
        there, is_folder = path.exists(), path.is_dir()
    except OSError as error:  # a folder above may not be looked into
        return Finding(name, BROKEN, f"{shown} cannot be used: {disk_reason(error)}", advice)
    if there and not is_folder:
        return Finding(name, BROKEN, f"{shown} is not a folder", f"Move that file away, or set {variable}.")
    if not there:
        parent = next(each for each in path.absolute().parents if each.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            return Finding(name, BROKEN, f"{shown} is not there and cannot be made", advice)
        return Finding(name, OK, f"{shown} is not there yet and will be made")
    if not os.access(path, os.R_OK | os.X_OK):
        return Finding(name, BROKEN, f"{shown} cannot be read", advice)
    try:
        with tempfile.TemporaryFile(dir=path, prefix=".part-") as file:
            file.write(b"x")
            file.flush()
            behind = time.time() - os.fstat(file.fileno()).st_mtime
    except OSError as error:
        return Finding(name, BROKEN, f"{shown} cannot be written: {disk_reason(error)}", advice)
    if abs(behind) > 5:
        found = f"the clock of the file system of {shown} is {behind:+.0f} s off"
        return Finding(name, WARNING, found, "Set both clocks by NTP: new photos are noticed by their times.")
    if own and os.name == "posix" and path.stat().st_mode & 0o005:
        found = f"every user of this machine may look into {shown}, which holds templates of faces"
        return Finding(name, WARNING, found, f"Keep them out: `chmod o= {shown}`")
    return Finding(name, OK, f"{shown} can be read and written")


def cache(file: Path) -> Finding:
    """Whether the template cache is intact."""
    if not file.exists():
        return Finding("cache", OK, "none yet")
    advice = f"Stop the server and delete {file.absolute()}: it is made again from the photos."
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            answer = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            count = connection.execute("SELECT count(*) FROM encodings").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Finding("cache", BROKEN, str(error), advice)
    if answer != "ok":
        return Finding("cache", BROKEN, answer[:200], advice)
    return Finding("cache", OK, f"whole, {plural(count, 'encoding')}")


def access(settings: Settings) -> Finding:
    """Who may use the server: whether there are keys, and whether their files are protected."""
    from recognizer.access.keys import Keys
    from recognizer.access.opening_access import open_access
    from recognizer.database.opening import open_database

    file = settings.state_dir / "access.sqlite"
    try:
        keys = Keys(open_access(settings.state_dir, open_database(settings.database_url)), settings.admin_key)
        valid = sum(keys.living(key.id) is not None for key in keys.all()) + (settings.admin_key is not None)
        locked = keys.required()
        if settings.tls_certificate is not None:
            from recognizer.http.tls import Tls

            Tls(settings.tls_certificate, settings.tls_key, settings.tls_key_password, settings.tls_client_ca)
    except RecognizerError as error:
        return Finding("access", BROKEN, error.message, f"Restore {file.absolute()} or the certificate's files from a backup.")
    if locked and not valid:
        return Finding("access", WARNING, "no key is valid", "Make one with `python -m recognizer keys add NAME --role admin`.")
    if not locked and settings.anyone_may_do_anything:
        advice = "Make a key, and unset RECOGNIZER_ANYONE_MAY_DO_ANYTHING, unless your network is trusted."
        return Finding("access", WARNING, "no keys: anyone who can reach the port can do anything", advice)
    secret = settings.config is not None and settings.admin_key is not None
    for shared in (file, settings.config if secret else None):
        if os.name == "posix" and shared is not None and shared.exists() and shared.stat().st_mode & 0o077:
            advice = f"Run `chmod 600 {shared.absolute()}`."
            return Finding("access", WARNING, f"{shared.name} can be read by other users", advice)
    return Finding("access", OK, plural(valid, "valid key") if locked else "no keys: only this machine is served")


def encryption(settings: Settings) -> Finding:
    """Whether the configured key decrypts the stored data."""
    from recognizer.core.vault import FACES_MARK, STATE_MARK, open_vault

    try:
        vault = open_vault(settings.encryption_key, settings.encryption_key_file)
        if not any(mark.exists() for mark in (settings.state_dir / STATE_MARK, settings.known_faces / FACES_MARK)):
            return Finding("encryption", OK, "off" if vault is None else "a key is set for a new installation")
        from recognizer.backup import reseal as work  # which loads NumPy

        held = work.held_keys(work.Places(settings.known_faces, settings.state_dir, settings.groups_dir))
        if held:
            if vault is None:
                raise KeyMissing(f"the data is encrypted with the key {', '.join(sorted(held))}, and none is set")
            work.require(held, vault)
    except RecognizerError as error:
        advice = "Set RECOGNIZER_ENCRYPTION_KEY_FILE to the file with that key; without it the data cannot be read."
        return Finding("encryption", BROKEN, error.message, advice)
    if not held or vault is None:
        return Finding("encryption", OK, "off")
    if len(held) > 1:
        advice = "Run `python -m recognizer encryption rotate` again, with the server stopped."
        return Finding("encryption", WARNING, "a change of the key was interrupted", advice)
    file = settings.encryption_key_file
    if os.name == "posix" and file is not None and file.stat().st_mode & 0o077:
        return Finding("encryption", WARNING, "the key can be read by other users", f"Run `chmod 600 {file.absolute()}`.")
    return Finding("encryption", OK, f"the data is encrypted with the key {vault.current}")


def frigate(settings: Settings) -> Iterator[Finding]:
    """Whether Frigate's certificate is checked, where Frigate is asked over TLS."""
    if settings.accepts_any_frigate:
        found = "any certificate is accepted as Frigate's: whoever redirects the connection can read its password"
        advice = "Name its certificate in RECOGNIZER_FRIGATE_CA_FILE, and unset RECOGNIZER_FRIGATE_VERIFY."
        yield Finding("frigate", WARNING, found, advice)
    elif (settings.frigate_url or "").lower().startswith("https:"):
        yield Finding("frigate", OK, "its certificate is checked")


def disk(path: Path) -> Finding:
    """Whether there is disk space for photos and the cache."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:.1f} GB free"
    if free < _LEAST_DISK:
        return Finding("disk", WARNING, found, f"Make room on the disk of {there}: enrolling fails when it is full.")
    return Finding("disk", OK, found)


# -- the system ---------------------------------------------------------------------------------------------------


def watching(settings: Settings) -> Finding:
    """Whether the system can announce changes in known_faces."""
    if not settings.watch or settings.watch_poll:
        return Finding("watching", OK, "off" if not settings.watch else "by polling")
    limits = Path("/proc/sys/fs/inotify")
    if not limits.is_dir():
        return Finding("watching", OK, "left to the system")
    watches, instances = (int((limits / name).read_text()) for name in ("max_user_watches", "max_user_instances"))
    root = settings.known_faces
    folders = 1 + sum(each.is_dir() for each in os.scandir(root)) if os.access(root, os.R_OK) else 1
    found = f"{folders} folders to watch; limits: {watches} watches, {instances} instances"
    refused = _inotify_error()
    if refused == errno.EMFILE:
        advice = "Raise the limit: `sysctl fs.inotify.max_user_instances=512`; until then the folder is polled."
        return Finding("watching", WARNING, f"no inotify instance is left ({instances} per user)", advice)
    if folders > watches:
        advice = f"Raise the limit: `sysctl fs.inotify.max_user_watches={max(2 * folders, 65536)}`."
        return Finding("watching", WARNING, found, advice)
    return Finding("watching", OK, found)


def _inotify_error() -> int:
    """The errno of opening an inotify instance; 0 if it succeeds."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.inotify_init1(os.O_CLOEXEC)
    if handle < 0:
        return ctypes.get_errno()
    os.close(handle)
    return 0


def port_free(host: str, port: int) -> Finding:
    """Whether the server can listen on its address."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as listener:
            if os.name == "posix":  # elsewhere this option would let two servers share a port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except PermissionError:
        advice = "Choose a port from 1024 on: `hug -f api.py -p 8000`."
        return Finding("port", BROKEN, f"{host}:{port} is not allowed to this user", advice)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = "If that is not the server itself, choose another port: `hug -f api.py -p 8001`."
            return Finding("port", WARNING, f"{host}:{port} is in use", advice)
        found = f"{host} cannot be listened on: {disk_reason(error)}"
        return Finding("port", BROKEN, found, "Set RECOGNIZER_HOST to an address of this machine.")
    return Finding("port", OK, f"{host}:{port} is free")


def clock(now: float | None = None) -> Finding:
    """Whether the clock is plausible: not before this installation's own files. Certificates depend on it."""
    now = time.time() if now is None else now
    newest = max(file.stat().st_mtime for file in Path(__file__).parent.rglob("*.py"))
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if now < newest - 120:
        advice = "Set the clock, for example by NTP: while it is wrong no certificate is valid and nothing can be fetched."
        return Finding("clock", BROKEN, f"{shown}, which is before this program was installed", advice)
    return Finding("clock", OK, shown)


def memory() -> Finding:
    """Whether there is enough memory for the weights and a few photos."""
    available = _available_memory()
    if available is None:
        return Finding("memory", OK, "left to the system")
    found = f"{available / 1e9:.1f} GB available"
    if available < _LEAST_MEMORY:
        advice = "Close other programs or raise the container's limit; RECOGNIZER_WORKERS=1 needs the least."
        return Finding("memory", WARNING, found, advice)
    return Finding("memory", OK, found)


def _available_memory() -> int | None:
    """Bytes available to this process, by the system and its control group; None if unknown."""
    limits = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
        group = Path("/sys/fs/cgroup")
        limits.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(limits, default=None)
