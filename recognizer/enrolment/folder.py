"""known_faces/ on disk: the source of truth, read and written so that a crash at any moment leaves it intact.

``known_faces/<subject>/<photo>``. A photo that is written appears under its final name only when all of it is on
the disk; a subject that is deleted disappears in one step. Names that begin with a dot are ours or the system's,
and are never photos.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from recognizer.core import consent, identity, names, particulars
from recognizer.core.consent import Consent
from recognizer.core.disk import disk_reason
from recognizer.core.errors import InvalidName, KeyMissing, NameTaken, SealBroken, SubjectNotFound
from recognizer.core.files import open_regular, remove_erasing, sync_folder, write_durably
from recognizer.core.identity import Identity
from recognizer.core.particulars import Particulars
from recognizer.core.vault import Vault, most_sealed, unsealed
from recognizer.enrolment.encodings import FileStamp
from recognizer.enrolment.folder_index import TRASH, FolderIndex, is_left_over
from recognizer.enrolment.folder_look import FolderLook, FolderMark, PhotoFile, Problem, ReadFolder
from recognizer.enrolment.photo_marks import LARGEST_MARK
from recognizer.enrolment.subject_files import (
    known_faces_errors,
    read_consent,
    read_identity,
    read_particulars,
    write_consent,
    write_identity,
    write_particulars,
)
from recognizer.photos import images

#: What encrypted photos are for; see `vault`.
PHOTO = "photo"
_MARKS = re.compile(r"(?:\.largest|\.at-\d{1,4}-\d{1,4})?(?:\.forced)?\Z")
#: Files that systems and people leave in folders of photos, and that nobody means as photos.
_IGNORED = {"thumbs.db", "desktop.ini", "readme.md", "readme.txt", "readme"}


class _Entry:
    """A name in the folder, with the methods of os.DirEntry that are needed."""

    def __init__(self, root: Path, name: str):
        self.name, self.path = name, os.path.join(root, name)

    def _mode(self) -> int:
        try:
            return os.lstat(self.path).st_mode
        except (OSError, ValueError):
            return 0

    def exists(self) -> bool:
        return self._mode() != 0

    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self._mode())

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Of the name itself: what a link leads to is never asked for."""
        return stat.S_ISDIR(self._mode())


_Named: TypeAlias = "os.DirEntry[str] | _Entry"


class KnownFaces:
    """The folder. The disk is the truth: besides the path, only the names of its folders are kept, while they are current.

    Parameters
    ----------
    root : path
        Created if it does not exist.
    vault : Vault, optional
        Encrypts the files.
    """

    def __init__(self, root: Path, vault: Vault | None = None):
        self.root, self.vault = Path(root), vault
        self._index = FolderIndex(self.root)
        with known_faces_errors():
            self.root.mkdir(parents=True, exist_ok=True)

    def sweep(self, subject: str | None = None, folders: Collection[str] | None = None) -> None:
        """Remove what an interrupted deletion or write left behind: everywhere, or of one subject, or in some folders.

        Of a subject it lies in the subject's folder, or in the folder of known faces itself.

        Call it while holding the lock of every write: then no other process is in the middle of one. What cannot be removed
        stays until the next call.
        """
        index = self._current_index()
        for name in index.left_over:
            with suppress(OSError), index.own_change(gone=[name]):
                _remove(self.root / name)
        self._index.settle()
        if subject is not None:
            folder = self.subject_folder(subject)
            chosen = [] if folder is None else [folder.name]
        else:
            chosen = index.folders if folders is None else list(folders)
        for name in chosen:
            entry = _Entry(self.root, name)
            if entry.is_dir():
                with suppress(OSError):  # deleted while we look, or not ours to change
                    _sweep_folder(entry.path)

    def left_over(self) -> int:
        """How much of interrupted writes and deletions `sweep` could not remove from the folder itself."""
        return len(self._current_index().left_over)

    # -- reading ------------------------------------------------------------------------------------------------

    def look(
        self,
        marks: Mapping[str, FolderMark | None],
        only: Iterable[str] | None = None,
        trusted: Collection[str] = frozenset(),
    ) -> FolderLook:
        """What is in the folder that may have changed.

        Parameters
        ----------
        marks : mapping
            By folder, the mark of an earlier look: a folder that still has it is not read again. None reads it in any case.
        only : iterable of str, optional
            Names in the folder that changed; without it, all names are listed.
        trusted : collection of str, optional
            Folders that `unchanged` has just found to be as they were: of those that are still listed, nothing more is asked.

        Raises
        ------
        StorageError
        """
        found = FolderLook(whole=only is None)
        with known_faces_errors():
            if only is None:
                begun = self._index.begin()
                entries: list[_Named] = sorted(os.scandir(self.root), key=_with_slash)  # so the photos are nearly in order
                self._index.take(begun, [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries])
            else:
                only = set(only)
                self._index.refresh(verify=True)
                if not all(self._index.agrees(name, _Entry(self.root, name).is_dir()) for name in only):
                    self._index.forget()  # something happened at the moment of an own change
                    self._index.refresh()
                entries = [_Entry(self.root, name) for name in self._with_alike(only)]
            for entry in entries:
                if entry.name in trusted and entry.is_dir(follow_symlinks=False):
                    found.folders.add(entry.name)
                else:
                    self._look_at(entry, marks, found)
        found.photos.sort(key=lambda photo: photo.path)
        return found

    def _with_alike(self, changed: Iterable[str]) -> set[str]:
        """These names, and those that some systems cannot tell from them: they may be used, or unused, from now on."""
        found = set(changed)
        for name in list(found):
            with suppress(InvalidName):
                found.update(self._index.alike(self._index.parts(name)[1]))
        return found

    def _look_at(self, entry: _Named, marks: Mapping[str, FolderMark | None], found: FolderLook) -> None:
        name = entry.name
        if name.startswith(".") or name.lower() in _IGNORED:
            return
        if isinstance(entry, _Entry) and not entry.exists():
            found.absent.add(name)
            return
        problem = self._folder_problem(entry)
        if problem is not None:
            found.absent.add(name)
            found.root_problems[name] = problem
            return
        found.folders.add(name)
        mark, known = _mark(entry.path), marks.get(name)
        if known is not None and mark == known:
            return
        seen = ReadFolder(self._index.parts(name)[0])
        begun = time.time_ns()
        self._scan_subject(seen.subject, name, found.photos, seen)
        if mark is not None and mark.is_older_than(begun) and not seen.left_over:
            seen.mark = mark
        found.read[name] = seen

    def unchanged(self, marks: Mapping[str, FolderMark]) -> dict[str, str]:
        """The subjects of those of these folders that have the same mark as then, by folder; without those that are not used
        because some systems cannot tell their names from another's."""
        found, root = {}, f"{self.root}/"
        with known_faces_errors():
            self._index.refresh()
        for name, subject in self._index.counting():  # which are no links
            mark = marks.get(name)
            if mark is not None and mark == _mark(root + name):
                found[name] = subject
        return found

    def scan(self, consents: dict[str, FileStamp] | None = None) -> tuple[list[PhotoFile], list[Problem]]:
        """Everything in the folder: the files that should be photos, and what cannot be used.

        `consents` is filled with the stamp of each subject's note, where there is one.
        """
        found = self.look({})
        if consents is not None:
            consents.update({each.subject: each.consent for each in found.read.values() if each.consent is not None})
        return found.photos, [*found.root_problems.values(), *(why for each in found.read.values() for why in each.problems)]

    def files_of(self, subject: str) -> dict[str, FileStamp]:
        """The files of a subject that should be photos: path -> stamp; empty where the subject has no folder."""
        folder = self.subject_folder(subject)
        photos: list[PhotoFile] = []
        if folder is not None:
            self._scan_subject(subject, folder.name, photos, ReadFolder(subject))
        return {photo.path: photo.stamp for photo in photos}

    def _folder_problem(self, entry: _Named) -> Problem | None:
        shown = _shown(entry.name)
        if entry.is_symlink():
            return Problem(None, shown, "symbolic_link", "symbolic links are not followed: copy the folder instead")
        if not entry.is_dir():
            return Problem(None, shown, "not_in_a_folder", "put this file into a folder named after the person")
        try:
            _, key = self._index.parts(entry.name)
        except InvalidName as error:
            return Problem(None, shown, error.code, error.message)
        other = self._index.first(key)
        if other is not None and other != entry.name:
            return Problem(None, shown, "name_taken", f"some systems cannot tell this name from {_shown(other)!r}")
        return None

    def _scan_subject(self, subject: str, folder: str, photos: list[PhotoFile], seen: ReadFolder) -> None:
        """Append the files of a subject's folder to `photos`, and note in `seen` what else is there."""
        try:
            with os.scandir(os.path.join(self.root, folder)) as listed:
                entries = sorted(listed, key=_name)
        except FileNotFoundError:
            return  # deleted while we look
        except OSError as error:
            seen.problems.append(Problem(subject, _shown(folder), "unreadable", disk_reason(error)))
            return
        for entry in entries:
            name = entry.name
            if name.startswith(".") or name.lower() in _IGNORED:
                if name == consent.FILE:
                    with suppress(FileNotFoundError):
                        seen.consent = FileStamp.of(entry.stat(follow_symlinks=False))
                elif is_left_over(name):
                    seen.left_over = True
                continue
            path = f"{folder}/{name}"
            if entry.is_file(follow_symlinks=False) and _is_text(name):
                with suppress(FileNotFoundError):
                    photos.append(PhotoFile(subject, path, FileStamp.of(entry.stat(follow_symlinks=False))))
            else:
                seen.problems.append(_why_not(subject, path, entry))

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

    def mark(self, folder: str) -> FolderMark | None:
        """The mark that a folder has now; None when it is gone."""
        return _mark(os.path.join(self.root, folder))

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
        name = self._current_index().folder_of(subject)
        return None if name is None else self.root / name

    def folders_of(self, subject: str) -> int:
        """How many folders are a subject's by their names; one of them is used."""
        index = self._current_index()
        return sum(index.parts(name)[0] == subject for name in index.alike(names.comparison_key(subject)))

    def has_folder_named(self, subject: str) -> bool:
        """Whether a subject's folder is listed with exactly this name, also on file systems that ignore case."""
        return self._current_index().folder_of(subject) is not None

    def remove_folder_without_files(self, subject: str) -> bool:
        """Delete a subject's folder if only a note of consent and what was being deleted is in it; whether it is gone."""
        folder = self.subject_folder(subject)
        if folder is None:
            return True
        with known_faces_errors():
            _sweep_folder(os.fspath(folder))
            self._remove_if_empty([folder])
            return not folder.exists()

    def _current_index(self) -> FolderIndex:
        with known_faces_errors():
            self._index.refresh()
        return self._index

    def clash(self, subject: str) -> str | None:
        """Another subject's name that some file systems cannot tell from this one."""
        return self._current_index().clash(subject)

    # -- writing ------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The names of all folders, with or without photos."""
        return [subject for _, subject in self._current_index().subjects()]

    def make_folder(self, subject: str) -> Path:
        """The folder of a subject, made if there is none; durable on return.

        Raises
        ------
        NameTaken
            Another subject's name differs only in case, or the folder is a symbolic link.
        StorageError
        """
        self._require_possible(subject)
        return self._made_folder(subject)

    def _made_folder(self, subject: str) -> Path:
        with known_faces_errors():
            folder = self.subject_folder(subject)
            if folder is None:
                folder = self.root / subject
                with self._index.own_change(new=[subject]):
                    folder.mkdir(exist_ok=True)
                self._sync_root()
        return folder

    def _sync_root(self) -> None:
        """What this process changed in the folder itself is durable, and no later change can be taken for it."""
        try:
            sync_folder(self.root)
        finally:
            self._index.settle()

    def _require_possible(self, subject: str) -> None:
        clash = self.clash(subject)
        if clash:
            raise NameTaken(f"{clash!r} is enrolled, and some systems cannot tell the two names apart", subject=clash)
        self._require_no_other_thing(subject)

    def _require_no_other_thing(self, subject: str) -> None:
        place = self.root / subject
        if place.is_symlink():
            raise NameTaken(f"the folder of {subject!r} is a symbolic link, and these are not followed", subject=subject)
        if os.path.lexists(place) and not place.is_dir():
            raise NameTaken(f"a file called {subject!r} lies in the folder of known faces: move it elsewhere", subject=subject)

    def add(self, subject: str, photo: str, extension: str, data: bytes) -> str:
        """Store a photo as received under its id; durable on return. Returns the path as `scan` reports it.

        A new subject's folder appears together with the photo: a process that is killed leaves no empty folder with the name.

        Raises
        ------
        NameTaken
            Another subject's name differs only in case, or the folder is a symbolic link.
        StorageError
        """
        self._require_possible(subject)
        name = f"{photo}.{extension}"
        data = data if self.vault is None else self.vault.seal(data, PHOTO)
        with known_faces_errors():
            if self.subject_folder(subject) is None and self._appears(subject, name, data):
                return f"{subject}/{name}"
        folder = self._made_folder(subject)
        with known_faces_errors():
            write_durably(folder / name, data)
        return f"{folder.name}/{name}"

    def take_in(self, subject: str, files: Sequence[Path]) -> None:
        """Copy files from elsewhere into a subject's folder, named and encrypted as they are there; durable on return.

        What the folder has already stays: a photo gets a similar name, a note of consent is joined with the one there.

        Raises
        ------
        NameTaken, StorageError
        """
        self._require_possible(subject)
        folder, vault = self._made_folder(subject), self.vault
        with known_faces_errors():
            for file in files:
                with open_regular(file) as opened:
                    data = opened.read()
                if file.name == consent.FILE and (folder / consent.FILE).exists():
                    note = read_consent(folder, vault).joined(read_consent(file.parent, vault))
                    write_consent(folder, note, vault)
                elif file.name == particulars.FILE and (folder / particulars.FILE).exists():
                    about = read_particulars(folder, vault).joined(read_particulars(file.parent, vault))
                    write_particulars(folder, about, vault)
                elif file.name != identity.PERSON_FILE or not (folder / identity.PERSON_FILE).exists():
                    write_durably(_free_place(folder, file.name), data)
            sync_folder(folder)

    def _appears(self, subject: str, name: str, data: bytes) -> bool:
        """Store a file in a folder that gets the subject's name once it is durable; False if somebody made one meanwhile."""
        new = self.root / f"{TRASH}{secrets.token_hex(8)}"  # of these a start deletes what a killed process left
        with self._index.own_change(new=[new.name]):
            new.mkdir()
        try:
            write_durably(new / name, data)
            with self._index.own_change(gone=[new.name], new=[subject]):
                new.rename(self.root / subject)
        except BaseException as error:
            shutil.rmtree(new, ignore_errors=True)
            self._index.forget()
            if isinstance(error, OSError) and (self.root / subject).is_dir():
                return False
            raise
        self._sync_root()
        return True

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
        with known_faces_errors():
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
        """A subject's folder is out of sight within the block, and is deleted at its end; if the block raises, or something in
        the folder cannot be deleted, what is left of it is back.

        Raises
        ------
        StorageError
        """
        folder = self.subject_folder(subject)
        if folder is None:
            yield
            return
        trash = self.root / f"{TRASH}{secrets.token_hex(8)}"
        with known_faces_errors(), self._index.own_change(gone=[folder.name], new=[trash.name]):
            folder.rename(trash)
        try:
            with known_faces_errors():
                self._sync_root()
            yield
            with known_faces_errors():
                _empty(trash)
        except BaseException:
            with known_faces_errors():
                with self._index.own_change(gone=[trash.name], new=[folder.name]):
                    _put_back(trash, folder)
                self._sync_root()
            raise
        with known_faces_errors():
            with self._index.own_change(gone=[trash.name]):
                while trash.exists():
                    with suppress(FileNotFoundError):  # another process that starts sweeps it as well
                        shutil.rmtree(trash)
            self._sync_root()

    @contextmanager
    def files_set_aside(self, paths: Sequence[str]) -> Iterator[None]:
        """The same for photos; their folder is deleted as well if nothing but a note of consent is left in it."""
        moved: list[tuple[Path, Path]] = []
        try:
            with known_faces_errors():
                for path in paths:
                    file = self.root / path
                    trash = file.with_name(f"{TRASH}{secrets.token_hex(8)}")
                    with suppress(FileNotFoundError):
                        file.rename(trash)
                        moved.append((file, trash))
                for folder in {file.parent for file, _ in moved}:
                    sync_folder(folder)
            yield
        except BaseException:
            for file, trash in moved:
                with known_faces_errors():
                    trash.rename(file)
                    sync_folder(file.parent)
            raise
        with known_faces_errors():
            for _, trash in moved:
                trash.unlink(missing_ok=True)
            self._remove_if_empty({(self.root / path).parent for path in paths})

    def _remove_if_empty(self, folders: Collection[Path]) -> None:
        for folder in folders:
            if folder.is_dir():
                sync_folder(folder)
                # one whom clients know by an id stays, as in the services that they were written for
                if folder != self.root and set(os.listdir(folder)) <= {consent.FILE, particulars.FILE}:
                    for name in (consent.FILE, particulars.FILE):
                        (folder / name).unlink(missing_ok=True)
                    with suppress(OSError), self._index.own_change(gone=[folder.name]):  # unless something has come into it
                        folder.rmdir()
                    self._sync_root()

    def mark_largest(self, path: str) -> str:
        """Rename a photo so that it enrols its largest face; its new path."""
        old = self.root / path
        stem, extension = os.path.splitext(old.name)
        with known_faces_errors():
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
        self._require_no_other_thing(new)
        target = self.subject_folder(new) if names.comparison_key(old) != names.comparison_key(new) else None
        if target is not None and not merge:
            raise NameTaken(f"{new!r} is enrolled already; merge the two if they are one person", subject=new)
        place = self.root / new
        if target is None and place.exists() and not place.samefile(folder):  # on a disk that tells the two names apart
            raise NameTaken(f"there is another folder called {new!r}, which is not used", subject=new)
        move = self._folder_renamed(folder, self.root / new) if target is None else self._merged(folder, target)
        with move as moved:
            yield moved

    @contextmanager
    def _folder_renamed(self, folder: Path, to: Path) -> Iterator[dict[str, str]]:
        with known_faces_errors():
            files = os.listdir(folder)
            with self._index.own_change(gone=[folder.name], new=[to.name]):
                folder.rename(to)
        try:
            with known_faces_errors():
                self._sync_root()
            yield {f"{folder.name}/{file}": f"{to.name}/{file}" for file in files}
        except BaseException:
            with known_faces_errors():
                with self._index.own_change(gone=[to.name], new=[folder.name]):
                    to.rename(folder)
                self._sync_root()
            raise

    @contextmanager
    def _merged(self, folder: Path, target: Path) -> Iterator[dict[str, str]]:
        moved: dict[Path, Path] = {}
        with known_faces_errors():
            ours = (consent.FILE, identity.PERSON_FILE, particulars.FILE)
            files = sorted(entry.name for entry in os.scandir(folder) if entry.name not in ours)
            kept = read_consent(target, self.vault)
            joined = kept.joined(read_consent(folder, self.vault))
            about = read_particulars(target, self.vault)
            both = about.joined(read_particulars(folder, self.vault))
        try:
            with known_faces_errors():
                if joined != kept:
                    write_consent(target, joined, self.vault)
                if both != about:
                    write_particulars(target, both, self.vault)
                for file in files:
                    place = _free_place(target, file)
                    os.rename(folder / file, place)
                    moved[folder / file] = place
                sync_folder(target)
            yield {f"{folder.name}/{old.name}": f"{target.name}/{new.name}" for old, new in moved.items()}
        except BaseException:
            with known_faces_errors():
                for old, new in moved.items():
                    os.rename(new, old)
                if joined != kept:
                    write_consent(target, kept, self.vault)
                if both != about:
                    write_particulars(target, about, self.vault)
                sync_folder(folder)
            raise
        with known_faces_errors():
            (folder / consent.FILE).unlink(missing_ok=True)
            (folder / particulars.FILE).unlink(missing_ok=True)
            if (folder / identity.PERSON_FILE).exists() and not (target / identity.PERSON_FILE).exists():
                os.rename(folder / identity.PERSON_FILE, target / identity.PERSON_FILE)
                sync_folder(target)
            (folder / identity.PERSON_FILE).unlink(missing_ok=True)
            with suppress(OSError), self._index.own_change(gone=[folder.name]):  # unless something was put there meanwhile
                folder.rmdir()
            self._sync_root()

    # -- consent ------------------------------------------------------------------------------------------------

    def consent(self, subject: str) -> Consent:
        """The note beside a subject's photos; an empty one where there is none.

        Raises
        ------
        StorageError
            It cannot be read.
        """
        folder = self.subject_folder(subject)
        return Consent() if folder is None else read_consent(folder, self.vault)

    def set_consent(self, subject: str, held: Consent) -> None:
        """Store a note beside a subject's photos; an empty note is deleted. Durable on return.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        folder = self.subject_folder(subject)
        if folder is None:
            raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        with known_faces_errors():
            write_consent(folder, held, self.vault)

    # -- identities ---------------------------------------------------------------------------------------------

    def identity_stamp(self, subject: str) -> FileStamp | None:
        """The stamp of the file with a subject's id; None where there is none."""
        folder = self.subject_folder(subject)
        return None if folder is None else self.stamp(f"{folder.name}/{identity.PERSON_FILE}")

    def identity(self, subject: str) -> Identity | None:
        """The id of a subject, as it is stored beside the photos; None where there is none, or it is damaged.

        Raises
        ------
        StorageError, SealBroken, KeyMissing
        """
        folder = self.subject_folder(subject)
        return None if folder is None else read_identity(folder / identity.PERSON_FILE, self.vault, identity.PERSON)

    def set_identity(self, subject: str, held: Identity) -> None:
        """Store the id of a subject beside the photos; durable on return.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        folder = self.subject_folder(subject)
        if folder is None:
            raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        write_identity(folder / identity.PERSON_FILE, held, self.vault, identity.PERSON)

    # -- particulars --------------------------------------------------------------------------------------------

    def particulars_stamp(self, subject: str) -> FileStamp | None:
        """The stamp of the file with what is stored about a subject; None where there is none."""
        folder = self.subject_folder(subject)
        return None if folder is None else self.stamp(f"{folder.name}/{particulars.FILE}")

    def particulars(self, subject: str) -> Particulars:
        """What is stored about a subject besides photos; nothing where the file is damaged or cannot be decrypted."""
        folder = self.subject_folder(subject)
        return Particulars() if folder is None else read_particulars(folder, self.vault)

    def set_particulars(self, subject: str, held: Particulars) -> None:
        """Store what is known about a subject; durable on return.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        folder = self.subject_folder(subject)
        if folder is None:
            raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        with known_faces_errors():
            write_particulars(folder, held, self.vault)


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
    if not os.path.lexists(place):
        return place
    marks = _MARKS.search(os.path.splitext(name)[0])
    return _renamed(place, marks.group() if marks else "")


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
    data = unsealed(data, vault, PHOTO, "this photo is")
    if len(data) > max_bytes:
        raise images.too_many_bytes(max_bytes)
    return data


def _why_not(subject: str, path: str, entry: os.DirEntry[str]) -> Problem:
    """Why something in a subject's folder is no photo."""
    shown = _shown(path)
    if entry.is_symlink():
        return Problem(subject, shown, "symbolic_link", "symbolic links are not followed")
    if entry.is_dir():
        message = "photos are read from the person's folder itself, not from folders inside it"
        return Problem(subject, shown, "nested_folder", message)
    if not entry.is_file():
        return Problem(subject, shown, "not_a_file", "this is not a regular file")
    return Problem(subject, shown, "invalid_name", "the file's name is not valid Unicode")


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _with_slash(entry: _Named) -> str:
    return f"{entry.name}/"


def _mark(folder: str) -> FolderMark | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return FolderMark(status.st_mtime_ns, status.st_ino)


def _sweep_folder(folder: str) -> None:
    """Remove what an interrupted write or deletion left in a subject's folder."""
    for file in list(os.scandir(folder)):
        if is_left_over(file.name) and not file.is_dir(follow_symlinks=False):
            os.unlink(file.path)


def _remove(place: Path) -> None:
    """Delete a file, or a folder with everything in it; what cannot be deleted of it keeps nothing else from it.

    Raises
    ------
    OSError
        Some of it is left.
    """
    if place.is_symlink() or not place.is_dir():
        place.unlink()
        return
    _make_writable(place)
    shutil.rmtree(place, ignore_errors=True)
    if os.path.lexists(place):
        raise OSError("a folder that was being deleted cannot be deleted")


def _make_writable(folder: str | Path) -> None:
    """Permit ourselves to delete what is in a folder, and in the folders in it, where they are ours."""
    with suppress(OSError):
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            os.chmod(folder, stat.S_IRWXU)
        for each in list(os.scandir(folder)):
            if each.is_dir(follow_symlinks=False):
                _make_writable(each.path)


def _empty(folder: Path) -> None:
    """Delete everything in a folder."""
    _make_writable(folder)
    with suppress(FileNotFoundError):
        for each in list(os.scandir(folder)):
            if each.is_dir(follow_symlinks=False):
                shutil.rmtree(each.path)
            else:
                os.unlink(each.path)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
