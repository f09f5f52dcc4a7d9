"""known_faces/ on disk: the source of truth, read and written so that a crash at any moment leaves it intact.

``known_faces/<subject>/<photo>``. A photo that is written appears under its final name only when all of it is on
the disk; a subject that is deleted disappears in one step. Names that begin with a dot are ours or the system's,
and are never photos.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from recognizer.core import consent, names
from recognizer.core.consent import Consent
from recognizer.core.errors import InvalidName, KeyMissing, NameTaken, SealBroken, StorageError, SubjectNotFound
from recognizer.core.files import PART, open_regular, remove_erasing, sync_folder, write_durably
from recognizer.core.outside_json import MOST_BYTES
from recognizer.core.vault import Vault, is_sealed, most_sealed
from recognizer.enrolment.cache import FileStamp
from recognizer.photos import images

#: What encrypted files are for; see `vault`.
PHOTO, CONSENT = "photo", "consent"
_TRASH = ".deleted-"
#: A photo whose name ends so (before its extension) enrols its largest face, however many there are.
LARGEST_MARK = ".largest"
#: A photo whose name ends so (after `LARGEST_MARK`, if it has both) is used although its face is not comparable.
FORCED_MARK = ".forced"
#: Files that systems and people leave in folders of photos, and that nobody means as photos.
_IGNORED = {"thumbs.db", "desktop.ini", "readme.md", "readme.txt", "readme"}


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A file that should be a photo of `subject`; `path` is relative to the folder, with slashes."""

    subject: str
    path: str
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something in the folder is not used. `path` is relative to the folder, with slashes."""

    subject: str | None
    path: str
    code: str
    message: str


class KnownFaces:
    """The folder. It has no state but the path: the disk is the truth.

    Parameters
    ----------
    root : path
        Created if it does not exist.
    vault : Vault, optional
        Encrypts the files.
    """

    def __init__(self, root: Path, vault: Vault | None = None):
        self.root, self.vault = Path(root), vault
        with _disk():
            self.root.mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove what an interrupted deletion or write left behind.

        Call it while holding the lock of every write: then no other process is in the middle of one. What cannot be removed
        stays until the next call.
        """
        with _disk():
            entries = list(os.scandir(self.root))
        for entry in entries:
            if entry.name.startswith(_TRASH) and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.name.startswith((_TRASH, PART)):
                with suppress(OSError):
                    os.unlink(entry.path)
            elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                with suppress(OSError):  # deleted while we look, or not ours to change
                    _sweep_folder(entry.path)

    # -- reading ------------------------------------------------------------------------------------------------

    def scan(self, consents: dict[str, FileStamp] | None = None) -> tuple[list[PhotoFile], list[Problem]]:
        """Everything in the folder: the files that should be photos, and what cannot be used.

        `consents` is filled with the stamp of each subject's note, where there is one.
        """
        photos: list[PhotoFile] = []
        problems: list[Problem] = []
        seen: dict[str, str] = {}
        with _disk():
            entries = sorted(os.scandir(self.root), key=_order)
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in _IGNORED:
                continue
            problem = self._folder_problem(entry, seen)
            if problem:
                problems.append(problem)
            else:
                self._scan_subject(names.normalise(entry.name), Path(entry.path), photos, problems, consents)
        return photos, problems

    def files_of(self, subject: str) -> dict[str, FileStamp]:
        """The files of a subject that should be photos: path -> stamp; empty where the subject has no folder."""
        folder = self.subject_folder(subject)
        photos: list[PhotoFile] = []
        if folder is not None:
            self._scan_subject(subject, folder, photos, [], None)
        return {photo.path: photo.stamp for photo in photos}

    def _folder_problem(self, entry: os.DirEntry[str], seen: dict[str, str]) -> Problem | None:
        shown = _shown(entry.name)
        if entry.is_symlink():
            return Problem(None, shown, "symbolic_link", "symbolic links are not followed: copy the folder instead")
        if not entry.is_dir():
            return Problem(None, shown, "not_in_a_folder", "put this file into a folder named after the person")
        try:
            name = names.normalise(entry.name)
        except InvalidName as error:
            return Problem(None, shown, error.code, error.message)
        other = seen.setdefault(names.comparison_key(name), entry.name)
        if other != entry.name:
            return Problem(None, shown, "name_taken", f"some systems cannot tell this name from {_shown(other)!r}")
        return None

    def _scan_subject(
        self,
        subject: str,
        folder: Path,
        photos: list[PhotoFile],
        problems: list[Problem],
        consents: dict[str, FileStamp] | None,
    ) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return  # deleted while we look
        except OSError as error:
            problems.append(Problem(subject, _shown(folder.name), "unreadable", _reason(error)))
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in _IGNORED:
                if entry.name == consent.FILE and consents is not None:
                    with suppress(FileNotFoundError):
                        consents[subject] = FileStamp.of(entry.stat(follow_symlinks=False))
                continue
            path = f"{folder.name}/{entry.name}"
            if entry.is_symlink():
                problems.append(Problem(subject, _shown(path), "symbolic_link", "symbolic links are not followed"))
            elif entry.is_dir():
                message = "photos are read from the person's folder itself, not from folders inside it"
                problems.append(Problem(subject, _shown(path), "nested_folder", message))
            elif not entry.is_file():
                problems.append(Problem(subject, _shown(path), "not_a_file", "this is not a regular file"))
            elif not _is_text(entry.name):
                problems.append(Problem(subject, _shown(path), "invalid_name", "the file's name is not valid Unicode"))
            else:
                try:
                    photos.append(PhotoFile(subject, path, FileStamp.of(entry.stat())))
                except FileNotFoundError:
                    continue

    def file(self, path: str) -> Path:
        """The absolute path of a photo that `scan` gave."""
        return self.root / path

    def read(self, path: str, max_bytes: int) -> bytes:
        """The content of a photo's file, decrypted.

        Raises
        ------
        ImageTooLarge, SealBroken, KeyMissing
        OSError
            It cannot be read.
        """
        return read_photo(self.root / path, max_bytes, self.vault, unsorted="/" not in path)

    def stamp(self, path: str) -> FileStamp | None:
        """The file's stamp now; None when it is gone."""
        try:
            return FileStamp.of(os.lstat(os.path.join(self.root, path)))
        except OSError:
            return None

    def consent_stamp(self, subject: str) -> FileStamp | None:
        """The stamp of a subject's note of consent; None where there is none."""
        folder = self.subject_folder(subject)
        return None if folder is None else self.stamp(f"{folder.name}/{consent.FILE}")

    def is_unsorted(self, name: str) -> bool:
        """Whether a file of that name lies in the folder itself, and so belongs to nobody."""
        if not name or Path(name).name != name or name.startswith(".") or name.lower() in _IGNORED:
            return False
        try:
            return stat.S_ISREG(os.lstat(self.root / name).st_mode)
        except (OSError, ValueError):
            return False

    def subject_folder(self, subject: str) -> Path | None:
        """The folder of a subject, however its name is written on the disk; None when there is none."""
        exact = self.root / subject
        if exact.is_dir() and not exact.is_symlink():
            return exact
        for name, folder in self._folders():
            if name == subject:
                return folder
        return None

    def _folders(self) -> Iterator[tuple[str, Path]]:
        with _disk():
            entries = list(os.scandir(self.root))
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                try:
                    yield names.normalise(entry.name), Path(entry.path)
                except InvalidName:
                    continue

    def clash(self, subject: str) -> str | None:
        """Another subject's name that some file systems cannot tell from this one."""
        wanted = names.comparison_key(subject)
        return next((name for name, _ in self._folders() if name != subject and names.comparison_key(name) == wanted), None)

    # -- writing ------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The names of all folders, with or without photos."""
        return [name for name, _ in self._folders()]

    def make_folder(self, subject: str) -> Path:
        """The folder of a subject, made if there is none; durable on return.

        Raises
        ------
        NameTaken
            Another subject's name differs only in case, or the folder is a symbolic link.
        StorageError
        """
        clash = self.clash(subject)
        if clash:
            raise NameTaken(f"{clash!r} is enrolled, and some systems cannot tell the two names apart", subject=clash)
        if (self.root / subject).is_symlink():
            raise NameTaken(f"the folder of {subject!r} is a symbolic link, and these are not followed", subject=subject)
        with _disk():
            folder = self.subject_folder(subject)
            if folder is None:
                folder = self.root / subject
                folder.mkdir(exist_ok=True)
                sync_folder(self.root)
        return folder

    def add(self, subject: str, photo: str, extension: str, data: bytes) -> str:
        """Store a photo as received under its id; durable on return. Returns the path as `scan` reports it.

        Raises
        ------
        NameTaken
            Another subject's name differs only in case, or the folder is a symbolic link.
        StorageError
        """
        folder = self.make_folder(subject)
        with _disk():
            final = folder / f"{photo}.{extension}"
            write_durably(final, data if self.vault is None else self.vault.seal(data, PHOTO))
        return f"{folder.name}/{final.name}"

    def replace_with(self, path: str, stamp: FileStamp, extension: str, data: bytes, mark: str = "") -> str | None:
        """Replace a file by one with another extension; durable on return.

        Parameters
        ----------
        mark : str
            What stays at the end of the name, before the extension, where the name has to be another: that one is taken.

        Returns
        -------
        str or None
            The new file's path; None if the file has another stamp by now, and nothing was done.
        """
        old = self.root / path
        with _disk():
            if self.stamp(path) != stamp:
                return None
            new = self._free_name(old, extension, data, mark)
            write_durably(new, data if self.vault is None else self.vault.seal(data, PHOTO))
            if self.stamp(path) != stamp:  # another photo was put there meanwhile
                new.unlink(missing_ok=True)
                return None
            remove_erasing(old)
            sync_folder(old.parent)
        return f"{old.parent.name}/{new.name}"

    def _free_name(self, old: Path, extension: str, data: bytes, mark: str) -> Path:
        """`old` with another extension: a name that nothing has, or a file that holds `data` since this was interrupted."""
        stem = os.path.splitext(old.name)[0]
        new = old.with_name(f"{stem}.{extension}")
        try:
            held = new.read_bytes()
            if (held if self.vault is None else self.vault.open_or_plain(held, PHOTO)) == data:
                return new
        except FileNotFoundError:
            return new
        except (SealBroken, KeyMissing):
            pass  # not ours to overwrite
        return _renamed(old.with_name(f"{stem}.{extension}"), mark)

    def remove_files(self, paths: Sequence[str]) -> None:
        """Delete photos, and their folder if nothing but a note of consent is left in it."""
        with self.files_set_aside(paths):
            pass

    def remove_subject(self, subject: str) -> None:
        """Delete the folder of a subject with everything in it; it disappears in one step."""
        with self.subject_set_aside(subject):
            pass

    @contextmanager
    def subject_set_aside(self, subject: str) -> Iterator[None]:
        """A subject's folder is out of sight within the block, and is deleted at its end; if the block raises, it is back.

        Raises
        ------
        StorageError
        """
        folder = self.subject_folder(subject)
        if folder is None:
            yield
            return
        trash = self.root / f"{_TRASH}{secrets.token_hex(8)}"
        with _disk():
            folder.rename(trash)
        try:
            with _disk():
                sync_folder(self.root)
            yield
        except BaseException:
            with _disk():
                _put_back(trash, folder)
                sync_folder(self.root)
            raise
        with _disk():
            while trash.exists():
                with suppress(FileNotFoundError):  # another process that starts sweeps it as well
                    shutil.rmtree(trash)
            sync_folder(self.root)

    @contextmanager
    def files_set_aside(self, paths: Sequence[str]) -> Iterator[None]:
        """The same for photos; their folder is deleted as well if nothing but a note of consent is left in it."""
        moved: list[tuple[Path, Path]] = []
        try:
            with _disk():
                for path in paths:
                    file = self.root / path
                    trash = file.with_name(f"{_TRASH}{secrets.token_hex(8)}")
                    with suppress(FileNotFoundError):
                        file.rename(trash)
                        moved.append((file, trash))
                for folder in {file.parent for file, _ in moved}:
                    sync_folder(folder)
            yield
        except BaseException:
            for file, trash in moved:
                with _disk():
                    trash.rename(file)
                    sync_folder(file.parent)
            raise
        with _disk():
            for _, trash in moved:
                trash.unlink(missing_ok=True)
            self._remove_if_empty({(self.root / path).parent for path in paths})

    def _remove_if_empty(self, folders: Collection[Path]) -> None:
        for folder in folders:
            if folder.is_dir():
                sync_folder(folder)
                if os.listdir(folder) == [consent.FILE]:
                    (folder / consent.FILE).unlink(missing_ok=True)
                if folder != self.root:
                    with suppress(OSError):  # it is not empty
                        folder.rmdir()
        sync_folder(self.root)

    def mark_largest(self, path: str) -> str:
        """Rename a photo so that it enrols its largest face; its new path."""
        old = self.root / path
        stem, extension = os.path.splitext(old.name)
        with _disk():
            new = _free_place(old.parent, f"{stem}{LARGEST_MARK}{extension}")
            old.rename(new)
            sync_folder(old.parent)
        return f"{old.parent.name}/{new.name}"

    def rename_subject(self, old: str, new: str, merge: bool = False) -> None:
        """Give a subject's folder another name; see `subject_renamed`."""
        with self.subject_renamed(old, new, merge):
            pass

    @contextmanager
    def subject_renamed(self, old: str, new: str, merge: bool = False) -> Iterator[dict[str, str]]:
        """A subject's folder has another name; with `merge`, its photos are in the folder that `new` has.

        If the block raises, everything is moved back. Gives the files' new paths by their old ones.

        Raises
        ------
        SubjectNotFound
        NameTaken
            `new` is enrolled and `merge` is not set, or `new` differs only in case from a third name.
        StorageError
        """
        folder = self.subject_folder(old)
        if folder is None:
            raise SubjectNotFound(f"nobody called {old!r} is enrolled")
        clash = self.clash(new)
        if clash and clash != old:
            raise NameTaken(f"{clash!r} is enrolled, and some systems cannot tell the two names apart", subject=clash)
        target = self.subject_folder(new) if names.comparison_key(old) != names.comparison_key(new) else None
        if target is not None and not merge:
            raise NameTaken(f"{new!r} is enrolled already; merge the two if they are one person", subject=new)
        move = self._folder_renamed(folder, self.root / new) if target is None else self._merged(folder, target)
        with move as moved:
            yield moved

    @contextmanager
    def _folder_renamed(self, folder: Path, to: Path) -> Iterator[dict[str, str]]:
        with _disk():
            files = os.listdir(folder)
            folder.rename(to)
        try:
            with _disk():
                sync_folder(self.root)
            yield {f"{folder.name}/{file}": f"{to.name}/{file}" for file in files}
        except BaseException:
            with _disk():
                to.rename(folder)
                sync_folder(self.root)
            raise

    @contextmanager
    def _merged(self, folder: Path, target: Path) -> Iterator[dict[str, str]]:
        moved: dict[Path, Path] = {}
        with _disk():
            files = sorted(entry.name for entry in os.scandir(folder) if entry.name != consent.FILE)
            kept, joined = self._read_consent(target), self._read_consent(target).joined(self._read_consent(folder))
        try:
            with _disk():
                if joined != kept:
                    self._write_consent(target, joined)
                for file in files:
                    place = _free_place(target, file)
                    os.rename(folder / file, place)
                    moved[folder / file] = place
                sync_folder(target)
            yield {f"{folder.name}/{old.name}": f"{target.name}/{new.name}" for old, new in moved.items()}
        except BaseException:
            with _disk():
                for old, new in moved.items():
                    os.rename(new, old)
                if joined != kept:
                    self._write_consent(target, kept)
                sync_folder(folder)
            raise
        with _disk():
            (folder / consent.FILE).unlink(missing_ok=True)
            with suppress(OSError):  # something was put there meanwhile
                folder.rmdir()
            sync_folder(self.root)

    # -- consent ------------------------------------------------------------------------------------------------

    def consent(self, subject: str) -> Consent:
        """The note beside a subject's photos; an empty one where there is none.

        Raises
        ------
        StorageError
            It cannot be read.
        """
        folder = self.subject_folder(subject)
        return Consent() if folder is None else self._read_consent(folder)

    def set_consent(self, subject: str, held: Consent) -> None:
        """Store a note beside a subject's photos; an empty note is deleted. Durable on return.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        folder = self.subject_folder(subject)
        if folder is None:
            raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        with _disk():
            self._write_consent(folder, held)

    def _read_consent(self, folder: Path) -> Consent:
        with _disk():
            try:
                with open(folder / consent.FILE, "rb") as file:
                    data = file.read(2 * MOST_BYTES)  # a longer one is refused below, and not read to its end
            except FileNotFoundError:
                return Consent()
        try:
            return Consent.from_bytes(data if self.vault is None else self.vault.open_or_plain(data, CONSENT))
        except ValueError as error:
            raise StorageError(f"the note of consent cannot be read: {error}") from None

    def _write_consent(self, folder: Path, held: Consent) -> None:
        if not held:
            (folder / consent.FILE).unlink(missing_ok=True)
            sync_folder(folder)
            return
        data = held.as_bytes()
        write_durably(folder / consent.FILE, data if self.vault is None else self.vault.seal(data, CONSENT))


def _put_back(trash: Path, folder: Path) -> None:
    """Give a folder its name back; if somebody has made one of that name meanwhile, its files go there."""
    if not os.path.lexists(folder):
        trash.rename(folder)
        return
    for name in os.listdir(trash):
        os.rename(trash / name, _free_place(folder, name))
    trash.rmdir()


def _free_place(folder: Path, name: str) -> Path:
    """Where a file can be put into a folder: under its own name, or a similar one if that is taken."""
    place = folder / name
    return _renamed(place, LARGEST_MARK) if os.path.lexists(place) else place


def _renamed(path: Path, mark: str) -> Path:
    """A similar name that nothing has; `mark` stays at its end, before the extension."""
    stem, extension = os.path.splitext(path.name)
    kept = mark if mark and stem.endswith(mark) else ""
    return path.with_name(f"{stem.removesuffix(kept)}-{secrets.token_hex(4)}{kept}{extension}")


def read_photo(path: Path, max_bytes: int, vault: Vault | None, *, unsorted: bool = False) -> bytes:
    """The content of a file of the folder; see `KnownFaces.read`. An `unsorted` one lies in the folder itself."""
    most = most_sealed(max_bytes) if vault else max_bytes
    with open_regular(path, linked_folder=unsorted) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise images.too_many_bytes(max_bytes)
    if is_sealed(data):
        if vault is None:
            raise KeyMissing("this photo is encrypted, and there is no key")
        data = vault.open(data, PHOTO)
    if len(data) > max_bytes:
        raise images.too_many_bytes(max_bytes)
    return data


def _order(entry: os.DirEntry[str]) -> tuple[bool, str]:
    """Folders whose names are written as `names.normalise` has them first: of two for one subject, that one counts."""
    try:
        return names.normalise(entry.name) != entry.name, entry.name
    except InvalidName:
        return True, entry.name


def _sweep_folder(folder: str) -> None:
    """Remove what an interrupted write or deletion left in a subject's folder."""
    for file in list(os.scandir(folder)):
        if file.name.startswith((PART, _TRASH)) and not file.is_dir(follow_symlinks=False):
            os.unlink(file.path)


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the folder of known faces cannot be used: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
