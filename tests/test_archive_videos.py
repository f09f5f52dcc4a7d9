"""Videos in the archive: their key scenes, who appears in them and when, and what becomes of videos that cannot be used."""

from __future__ import annotations

import os
import sqlite3
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from recognizer.archive import photo_names, video_scenes, video_time
from recognizer.archive.archive_file import ARCHIVE_FILE, ArchiveFile
from recognizer.archive.photo_faces import PhotoFace
from recognizer.archive.updating import ArchiveUpdate
from recognizer.archive.video_scenes import VideoFace, scenes, with_faces
from recognizer.archive.video_time import VideoTimes, video_times
from recognizer.core.errors import BrokenVideo, DecoderUnavailable, PhotoNotFound
from recognizer.core.types import Box
from recognizer.photos import images
from recognizer.service.archive_service import KeptArchive
from recognizer.video.sources import recording
from recognizer.video.sources.recording import frame_at, frames_of

from .e2e import pictures
from .streams import clip, ffmpeg_clip
from .test_cli import Home


def film(path: Path, shots: list[tuple[bytes, float]], rate: int = 10, size: tuple[int, int] = (480, 480)) -> Path:
    """A video of photos, each for some seconds, on grey."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
    assert writer.isOpened()
    for number, (photo, seconds) in enumerate(shots):
        frame = np.full((size[1], size[0], 3), 60 + 60 * number, np.uint8)
        pixels = images.resize(images.decode(photo).pixels, min(size))
        frame[: pixels.shape[0], : pixels.shape[1]] = pixels
        for _ in range(round(seconds * rate)):
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


@pytest.mark.slow
def test_a_recording_is_read_from_anywhere_and_in_steps(tmp_path):
    path = clip(tmp_path / "a.mp4", frames=50, rate=25, size=(160, 120))
    whole = list(frames_of(path))
    assert [round(seconds * 25) for seconds, _ in whole] == list(range(50))
    assert [round(seconds, 2) for seconds, _ in frames_of(path, every=0.4)] == [0, 0.4, 0.8, 1.2, 1.6]
    for seconds in (0.72, 9.0):
        nearest = [pixels for at, pixels in whole if at <= seconds + 0.005][-1]
        assert np.array_equal(frame_at(path, seconds), nearest), seconds
    ended = threading.Event()
    read = frames_of(path, ended=ended)
    next(read)
    ended.set()
    assert list(read) == []


@pytest.mark.slow
def test_key_frames_alone_are_read_where_they_are_often_enough(tmp_path, monkeypatch):
    options = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10:duration=4", "-c:v", "libx264", "-g", "10")
    path = tmp_path / "b.mp4"
    path.write_bytes(ffmpeg_clip(".mp4", *options))
    assert [round(seconds, 1) for seconds, _ in frames_of(path, key_frames=True)] == [0, 1, 2, 3]
    ended = threading.Event()
    assert not video_scenes._has_key_frames(path, ended)  # it is shorter than a minute
    monkeypatch.setattr(video_scenes, "_PROBED", 2.5)
    assert video_scenes._has_key_frames(path, ended)
    monkeypatch.setattr(video_scenes, "KEY_FRAME_GAP", 0.9)
    assert not video_scenes._has_key_frames(path, ended)


@pytest.mark.slow
@pytest.mark.parametrize(
    "times, wanted",
    [("rate=1/90:duration=450", range(5)), ("rate=10:duration=0.9,setpts='(floor(N/3)*90+mod(N,3)*0.1)/TB'", (0, 3, 6))],
)
def test_no_picture_of_a_slow_slide_show_is_passed_over(tmp_path, times, wanted):
    """Where pictures come minutes apart only now and then, the minutes look like those between recordings that were joined."""
    path = tmp_path / "slides.mkv"
    slides = ("-f", "lavfi", "-i", f"testsrc2=size=160x120:{times}", "-fps_mode", "vfr", "-c:v", "libx264", "-g", "1000")
    path.write_bytes(ffmpeg_clip(".mkv", *slides))
    whole = [pixels for _, pixels in frames_of(path)]
    found = list(frames_of(path, every=0.4))
    shown = [any(np.array_equal(each, pixels) for _, pixels in found) for each in whole]
    assert shown == [number in wanted for number in range(len(whole))]
    assert "/90:" not in times or [round(seconds) for seconds, _ in found] == [0, 90, 180, 270, 360]
    seconds, pixels = found[2]
    assert np.array_equal(frame_at(path, seconds), pixels)


def test_a_broken_video_says_so_and_a_missing_process_passes(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(1000))
    with pytest.raises(BrokenVideo, match="not a readable video"):
        list(frames_of(path))
    with pytest.raises(BrokenVideo, match="there is no such file"):
        list(frames_of(tmp_path / "b.mp4"))
    monkeypatch.setattr(recording, "ProcessReader", _no_process)
    with pytest.raises(DecoderUnavailable, match="at the moment"):
        list(frames_of(path))


def _no_process(*_, **__):
    raise recording.SourceLost("no process could be started")


def scenery(seed: int, contrast: float = 100.0) -> np.ndarray:
    rough = np.random.default_rng(seed).normal(size=(9, 12, 1)).repeat(3, axis=2)
    fine = np.kron(rough, np.ones((20, 20, 1)))
    return np.clip(128 + contrast * fine, 0, 255).astype(np.uint8)


def test_a_scene_ends_at_a_cut_or_after_some_seconds_and_its_sharpest_frame_counts():
    one, dull, other = scenery(1), scenery(1, 40.0), scenery(2)
    shown = [(0.0, dull), (1.0, one), (2.0, dull), (3.0, other), (4.0, other), (7.0, other), (7.5, other)]
    found = [(each.seconds, each.cut) for each in scenes(shown)]
    assert found == [(1.0, False), (3.0, True), (7.0, False)]
    assert list(scenes([])) == []


def appearance(seconds: float, at: float, left: float = 0.0, quality: float = 0.5, remarks: tuple[str, ...] = ()) -> VideoFace:
    face = PhotoFace(Box(left, 0, left + 50, 50), 0.9, np.array([at, 0.0], np.float32), quality, remarks)
    return VideoFace(seconds, face, b"")


def test_a_person_is_kept_once_in_a_take_with_the_best_picture():
    take = with_faces([], [appearance(0, 0.0, quality=0.3), appearance(0, 1.0, 100)], 0.2)
    take = with_faces(take, [appearance(4, 0.1, 20, quality=0.8), appearance(4, 0.95, 110, quality=0.2)], 0.2)
    assert sorted((each.seconds, round(float(each.face.vector[0]), 2)) for each in take) == [(0, 1.0), (4, 0.1)]
    take = with_faces(take, [appearance(8, 3.0, 20), appearance(8, 7.0, 200, 0.9, ("blurred",))], 0.2)
    assert len(take) == 4  # another person, and a blurred face where nobody was
    take = with_faces(take, [appearance(12, 9.0, 205, 0.1, ("blurred",))], 0.2)
    assert len(take) == 4  # the blurred one again
    two = with_faces([], [appearance(0, 0.0), appearance(0, 0.01, 100)], 0.2)
    assert len(two) == 2  # two faces of one frame are two people, however alike


def box(kind: bytes, content: bytes, *, large: bool = False) -> bytes:
    if large:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), kind) + content


def test_the_time_of_a_recording_is_read_from_its_file(tmp_path):
    path, at = tmp_path / "a.mp4", 1_600_000_000
    short = box(b"mvhd", struct.pack(">II", 0, at + 2_082_844_800) + bytes(80))
    long = box(b"mvhd", struct.pack(">IQ", 1 << 24, at + 2_082_844_800) + bytes(80))
    start = box(b"ftyp", b"mp42") + box(b"mdat", bytes(1000), large=True)
    for content, expected in (
        (start + box(b"moov", box(b"free", b"") + short), at),
        (start + box(b"moov", long), at),
        (start + struct.pack(">I4s", 0, b"moov") + short, at),
        (start + box(b"moov", box(b"mvhd", bytes(80))), None),  # 1904: the clock was never set
        (start + box(b"moov", b""), None),
        (start + box(b"moov", short)[:20], None),
        (start + struct.pack(">I4s", 3, b"odd "), None),
        (b"RIFF....AVI LIST", None),
        (b"", None),
    ):
        path.write_bytes(content)
        assert video_times(path).recorded == expected, content[-40:]
    for header in (struct.pack(">IIIII", 0, 0, 0, 600, 1500), struct.pack(">IQQIQ", 1 << 24, 0, 0, 600, 1500)):
        path.write_bytes(start + box(b"moov", box(b"mvhd", header + bytes(80))))
        assert video_times(path) == VideoTimes(None, 2.5)


def element(kind: int, content: bytes, size: bytes | None = None) -> bytes:
    """An element of a Matroska file, with its size in eight bytes."""
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + (size or struct.pack(">Q", 1 << 56 | len(content))) + content


def tag(name: str, value: str) -> bytes:
    return element(
        0x1254C367, element(0x7373, element(0x67C8, element(0x45A3, name.encode()) + element(0x4487, value.encode())))
    )


def test_the_time_of_a_matroska_recording_is_in_its_tags_or_its_head(tmp_path):
    path, at = tmp_path / "a.mkv", 1_600_000_000
    begin, video = element(0x1A45DFA3, b""), element(0x1F43B675, bytes(5000))
    unknown = b"\x01" + b"\xff" * 7
    date = element(0x4461, struct.pack(">q", (at - 978_307_200) * 10**9))
    length = element(0x4489, struct.pack(">d", 2500))
    info = element(0x1549A966, date + length)
    recorded = tag("DATE_RECORDED", "2020-09-13 12:27:00.500")  # twenty and a half seconds later
    seek = element(0x4DBB, element(0x53AB, bytes.fromhex("1254c367")) + element(0x53AC, struct.pack(">I", 0)))
    seek_head = element(0x114D9B74, seek)
    place = struct.pack(">I", len(seek_head) + len(info) + len(video))
    listed = seek_head.replace(element(0x53AC, struct.pack(">I", 0)), element(0x53AC, place))
    for content, expected in (
        (element(0x18538067, info + video), VideoTimes(at, 2.5)),
        (element(0x18538067, info + video, unknown), VideoTimes(at, 2.5)),  # a recording that was cut off
        (element(0x18538067, recorded + info + video), VideoTimes(at + 20.5, 2.5)),
        (element(0x18538067, listed + info + video + recorded), VideoTimes(at + 20.5, 2.5)),
        (element(0x18538067, tag("DATE_RECORDED", "2020-09-13T14:27:00+02:00") + video), VideoTimes(at + 20, None)),
        (element(0x18538067, tag("DATE_RECORDED", "2020") + info + video), VideoTimes(at, 2.5)),
        (element(0x18538067, tag("DATE_RELEASED", "2020-09-13 12:27:00") + video), VideoTimes()),
        (element(0x18538067, element(0x1549A966, element(0x4461, bytes(7)) + element(0x4489, b"ab"))), VideoTimes()),
        (element(0x18538067, element(0x1549A966, element(0x4489, struct.pack(">f", float("nan"))))), VideoTimes()),
        (element(0x18538067, element(0x1549A966, element(0x2AD7B1, b"\xff" * 200) + length)), VideoTimes()),
        (element(0x18538067, element(0x1549A966, b"\x44\x89" + b"\x40", b"\x83")), VideoTimes()),  # ends within a value's head
        (element(0x18538067, element(0x1549A966, length[:2] + b"\x08" + bytes(20), b"\x83") + info), VideoTimes()),
        (element(0x18538067, b"\0" * 50), VideoTimes()),
        (element(0x18538067, b"\x42"), VideoTimes()),
        (b"", VideoTimes()),
    ):
        path.write_bytes(begin + content)
        assert video_times(path) == expected, content[:60]


def test_a_file_full_of_tags_is_not_read_to_its_end(tmp_path, monkeypatch):
    path, looked, read = tmp_path / "a.mkv", 0, video_time._elements

    def counted(*given):
        nonlocal looked
        for each in read(*given):
            looked += 1
            yield each

    monkeypatch.setattr(video_time, "_elements", counted)
    simple = element(0x67C8, b"\xec\x80" * 500)
    tags = element(0x1254C367, element(0x7373, simple * 50) * 100)
    path.write_bytes(element(0x1A45DFA3, b"") + element(0x18538067, tags))
    assert video_times(path) == VideoTimes() and looked < 110_000  # of 2.5 million


@pytest.mark.parametrize("ending", [".mkv", ".webm", ".mp4"])
def test_the_time_of_a_recording_is_read_from_what_ffmpeg_writes(tmp_path, ending):
    codec = ("-c:v", "libvpx", "-deadline", "realtime") if ending == ".webm" else ("-c:v", "mpeg4")
    path = tmp_path / f"a{ending}"
    made = ("-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=1.5", *codec)
    path.write_bytes(ffmpeg_clip(ending, *made, "-metadata", "creation_time=2020-09-13T12:26:40Z"))
    assert video_times(path) == VideoTimes(1_600_000_000, 1.5)
    path.write_bytes(ffmpeg_clip(ending, *made))
    assert video_times(path) == VideoTimes(None, 1.5)


@pytest.fixture
def home(tmp_path, models_dir, photos) -> Home:
    made = Home(tmp_path, models_dir)
    small = {name: pictures.smaller(photos[f"{name}.jpg"].read_bytes(), 400) for name in ("obama", "obama3", "biden")}
    made.album = tmp_path / "album"
    made.album.mkdir()
    film(made.album / "party.mp4", [(pictures.nobody(), 1), (small["obama"], 5), (small["biden"], 2)])
    (made.album / "broken.mov").write_bytes(b"no video")
    (made.known / "Barack Obama").mkdir(parents=True)
    (made.known / "Barack Obama" / "one.jpg").write_bytes(small["obama3"])
    made.state = tmp_path / "state"
    return made


@pytest.mark.slow
def test_people_are_found_in_videos_with_the_time(home, monkeypatch):
    made = home.json("archive", "add", home.album)["update"]
    assert (made["found"], made["processed"], made["faces"], made["problems"], made["complete"]) == (2, 2, 2, 1, True)
    listed = home.json("archive", "list")
    assert (listed["status"]["videos"], listed["status"]["people"]) == (2, 2)
    assert [(Path(each["photo"]).name, each["code"]) for each in listed["problems"]] == [("broken.mov", "broken_video")]
    found = home.json("archive", "search", "--person", "Barack Obama")["faces"]
    assert [Path(each["files"][0]).name for each in found] == ["party.mp4"] and 1 <= found[0]["time_s"] < 6
    assert found[0]["width"] == 480 and found[0]["clock"] == "file" and found[0]["subject"] == "Barack Obama"
    shown = home.run("archive", "search", "--person", "Barack Obama").stdout
    assert "party.mp4 at 0:00:0" in shown
    again = home.json("archive", "update")["update"]
    assert (again["found"], again["read"], again["processed"]) == (2, 0, 0)
    (home.album / "party.mp4").rename(home.album / "renamed.mp4")
    moved = home.json("archive", "update")["update"]
    assert (moved["read"], moved["processed"], moved["removed"], moved["forgotten"]) == (1, 0, 1, 0)

    file = ArchiveFile(home.state / ARCHIVE_FILE)
    video = found[0]["photo"]
    faces = file.faces_on(video)
    assert len(faces) == 2 and all(file.thumbnail(each.key) for each in faces)
    assert photo_names._files(file) == []  # regions are for photos
    with file.change() as connection:
        connection.execute("DELETE FROM thumbnails")  # as in an index that was restored
    archive = KeptArchive(home.state, lambda: None, None, None, None, None)
    archive._file = file
    key = next(each.key for each in faces if each.seconds == found[0]["time_s"])
    box, frame = file.face(key).box, images.decode(archive.shown_photo(video, found[0]["time_s"])).pixels
    assert frame.shape == (480, 480, 3)
    thumbnail = images.decode(archive.thumbnail(key)).pixels
    assert thumbnail.std() > 20 and file.thumbnail(key)
    assert images.decode(archive.cut(key)).pixels.shape[0] >= box.height
    empty = images.decode(archive.shown_photo(video, 0.0)).pixels
    assert np.abs(empty.astype(int) - frame).mean() > 10  # another moment
    (home.album / "renamed.mp4").write_bytes(b"something else")
    with pytest.raises(PhotoNotFound):
        archive.shown_photo(video, 0.0)  # the file has another content by now
    file.close()

    home.json("people", "delete", "Barack Obama", "--yes")
    with sqlite3.connect(home.state / ARCHIVE_FILE) as connection:
        left = connection.execute("SELECT number FROM faces").fetchall()
        kept = connection.execute("SELECT count(*) FROM thumbnails").fetchone()
    connection.close()
    assert left == [(1 - key.number,)] and kept == (0,)
    home.environ["RECOGNIZER_ARCHIVE_VIDEO_MINUTES"] = "0"
    film(home.album / "later.mp4", [(pictures.nobody(), 1)])
    os.utime(home.album / "broken.mov")
    none = home.json("archive", "update")["update"]
    assert (none["found"], none["read"], none["other_files"]) == (2, 0, 1)  # no video is read, and what is known stays


@pytest.mark.slow
def test_an_update_that_ends_within_a_video_stores_nothing_of_it(home, monkeypatch):
    file = ArchiveFile(":memory:")
    file.add_folder(str(home.album))
    ended = threading.Event()
    settings = _Settings()
    real = video_scenes.scenes

    def interrupted(frames):
        for each in real(frames):
            yield each
            ended.set()

    monkeypatch.setattr(video_scenes, "scenes", interrupted)
    monkeypatch.setattr(video_scenes, "faces_on", lambda settings, image: (image, []))
    report = ArchiveUpdate(file, settings, lambda faces: 0.5, ended=ended, video_seconds=60.0).run()
    assert not report.complete and [each.path for each in file.files(1).values()] == ["broken.mov"]
    monkeypatch.setattr(video_scenes, "scenes", real)
    stages = []
    update = ArchiveUpdate(file, settings, lambda faces: 0.5, lambda *each: stages.append(each), video_seconds=3.0)
    assert update.run().complete and len(file.files(1)) == 2
    party = next(each.photo for each in file.files(1).values() if each.path == "party.mp4")
    assert 2.0 <= file.photo(party).seconds <= 3.0  # no more of it is read
    shares = [each[3] for each in stages if each[:3] == ("photos", 0, 1) and len(each) > 3]
    assert len(shares) > 3 and shares == sorted(shares) and shares[0] < 0.2 and shares[-1] == 1.0  # within the video
    file.close()


class _Settings:
    key, workers, max_bytes = "e", 1, 1_000_000
