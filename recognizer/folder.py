"""known_faces/ on disk: the source of truth, read and written so that a crash at any instant leaves it whole.

``known_faces/<subject>/<photo>``. A photo that is written appears under its final name only when all of it is on
the disk; a subject that is deleted disappears in one step. Names that begin with a dot are ours or the system's,
and are never photos.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import consent, images, names
from .consent import Consent
from .encodings import FileStamp
from .errors import InvalidName, KeyMissing, NameTaken, SealBroken, StorageError, SubjectNotFound
from .files import PART, remove_erasing, sync_folder, write_durably
from .vault import OVERHEAD, Vault, is_sealed

#: What encrypted files are for; see `vault`.
PHOTO, CONSENT = "photo", "consent"
_TRASH = ".deleted-"
#: Seconds after which a write that goes on no longer was interrupted: another process may be writing now.
_ABANDONED = 60
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
    """The folder. Owns nothing but the path: whatever is on the disk is true.

    Parameters
    ----------
    root : path
        Made if it is not there.
    vault : Vault, optional
        What files are encrypted with.
    """

    def __init__(self, root: Path, vault: Vault | None = None):
        self.root, self.vault = Path(root), vault
        with _disk():
            self.root.mkdir(parents=True, exist_ok=True)
            self._sweep()

    def _sweep(self) -> None:
        """Remove what an interrupted deletion or write left behind."""
        for entry in list(os.scandir(self.root)):
            if entry.name.startswith(_TRASH) and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                with suppress(FileNotFoundError):  # deleted by another process while we look
                    _sweep_parts(entry.path)

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
                self._scan_subject(entry, photos, problems, consents)
        return photos, problems

    def _folder_problem(self, entry: os.DirEntry, seen: dict[str, str]) -> Problem | None:
        shown = _shown(entry.name)
        if entry.is_symlink():
            return Problem(None, shown, "symbolic_link", "symbolic links are not followed: copy the folder instead")
        if not entry.is_dir():
            return Problem(None, shown, "not_in_a_folder", "put this file into a folder named after the person")
        try:
            name = names.normalise(entry.name)
        except InvalidName as error:
            return Problem(None, shown, error.code, error.message)
        other = seen.setdefault(names.key(name), entry.name)
        if other != entry.name:
            return Problem(None, shown, "name_taken", f"some systems cannot tell this name from {_shown(other)!r}")
        return None

    def _scan_subject(
        self, folder: os.DirEntry, photos: list[PhotoFile], problems: list[Problem], consents: dict | None
    ) -> None:
        subject = names.normalise(folder.name)
        try:
            entries = sorted(os.scandir(folder.path), key=lambda entry: entry.name)
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
        """What a photo's file holds, decrypted.

        Raises
        ------
        ImageTooLarge, SealBroken, KeyMissing
        OSError
            It cannot be read.
        """
        return read_photo(self.root / path, max_bytes, self.vault)

    def stamp(self, path: str) -> FileStamp | None:
        """The file's stamp now; None when it is gone."""
        try:
            return FileStamp.of(os.lstat(os.path.join(self.root, path)))
        except OSError:
            return None

    def is_unsorted(self, name: str) -> bool:
        """Whether a file of that name lies in the folder itself, where it is nobody's."""
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
        wanted = names.key(subject)
        return next((name for name, _ in self._folders() if name != subject and names.key(name) == wanted), None)

    # -- writing ------------------------------------------------------------------------------------------------

    def add(self, subject: str, photo: str, extension: str, data: bytes) -> str:
        """Store a photo as received under its id; durable when this returns. The path, as `scan` gives it.

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
            final = folder / f"{photo}.{extension}"
            write_durably(final, data if self.vault is None else self.vault.seal(data, PHOTO))
        return f"{folder.name}/{final.name}"

    def replace_with(self, path: str, stamp: FileStamp, extension: str, data: bytes, mark: str = "") -> str | None:
        """Put a file of the same name but another extension in the place of one; durable when this returns.

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
        kept = mark if mark and stem.endswith(mark) else ""
        return old.with_name(f"{stem.removesuffix(kept)}-{secrets.token_hex(4)}{kept}.{extension}")

    def remove_files(self, paths: list[str]) -> None:
        """Delete photos; a folder that is left empty goes too."""
        with _disk():
            folders = set()
            for path in paths:
                (self.root / path).unlink(missing_ok=True)
                folders.add((self.root / path).parent)
            for folder in folders:
                if folder.is_dir():
                    sync_folder(folder)
                    if os.listdir(folder) == [consent.FILE]:
                        (folder / consent.FILE).unlink(missing_ok=True)
                    with suppress(OSError):  # it is not empty
                        folder.rmdir()
            sync_folder(self.root)

    def remove_unsorted(self, name: str) -> None:
        """Delete a file that `is_unsorted`."""
        with _disk():
            (self.root / name).unlink(missing_ok=True)
            sync_folder(self.root)

    def remove_subject(self, subject: str) -> None:
        """Delete the folder of a subject with everything in it, gone in one step for everybody who looks."""
        folder = self.subject_folder(subject)
        if folder is None:
            return
        with _disk():
            trash = self.root / f"{_TRASH}{secrets.token_hex(8)}"
            folder.rename(trash)
            sync_folder(self.root)
            while trash.exists():
                with suppress(FileNotFoundError):  # another process that starts sweeps it as well
                    shutil.rmtree(trash)
            sync_folder(self.root)

    def rename_subject(self, old: str, new: str, merge: bool = False) -> None:
        """Rename a subject's folder; with `merge`, move its photos into the folder that `new` has.

        Raises
        ------
        SubjectNotFound
        NameTaken
            `new` is enrolled and `merge` is not set, or `new` differs only in case from a third name.
        """
        folder = self.subject_folder(old)
        if folder is None:
            raise SubjectNotFound(f"nobody called {old!r} is enrolled")
        clash = self.clash(new)
        if clash and clash != old:
            raise NameTaken(f"{clash!r} is enrolled, and some systems cannot tell the two names apart", subject=clash)
        target = self.subject_folder(new) if names.key(old) != names.key(new) else None
        with _disk():
            if target is None:
                folder.rename(self.root / new)
            elif not merge:
                raise NameTaken(f"{new!r} is enrolled already; merge the two if they are one person", subject=new)
            else:
                self._merge(folder, target)
            sync_folder(self.root)

    def _merge(self, folder: Path, target: Path) -> None:
        if (folder / consent.FILE).exists():
            self._write_consent(target, self._read_consent(target).joined(self._read_consent(folder)))
            (folder / consent.FILE).unlink()
        for entry in list(os.scandir(folder)):
            place = target / entry.name
            if place.exists():
                stem, extension = os.path.splitext(entry.name)
                place = target / f"{stem}-{secrets.token_hex(4)}{extension}"
            os.rename(entry.path, place)
        sync_folder(target)
        folder.rmdir()


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
        """Keep a note beside a subject's photos; an empty one is deleted. Durable when this returns.

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
                data = (folder / consent.FILE).read_bytes()
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


def read_photo(path: Path, max_bytes: int, vault: Vault | None) -> bytes:
    """What a file of the folder holds; see `KnownFaces.read`."""
    data = images.read_file(path, max_bytes=max_bytes + (OVERHEAD if vault else 0))
    if is_sealed(data):
        if vault is None:
            raise KeyMissing("this photo is encrypted, and there is no key")
        data = vault.open(data, PHOTO)
    return data


def _order(entry: os.DirEntry) -> tuple[bool, str]:
    """Folders whose names are written as `names.normalise` has them first: of two for one subject, that one counts."""
    try:
        return names.normalise(entry.name) != entry.name, entry.name
    except InvalidName:
        return True, entry.name


def _sweep_parts(folder: str) -> None:
    for file in list(os.scandir(folder)):
        if file.name.startswith(PART) and time.time() - file.stat(follow_symlinks=False).st_mtime > _ABANDONED:
            os.unlink(file.path)


@contextmanager
def _disk():
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
