"""Video of many formats, made on the spot with ffmpeg, compared with the picture that ffmpeg itself shows of it."""

from __future__ import annotations

import functools
import io
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognizer.video.sources import libav
from recognizer.video.sources.camera import Camera
from recognizer.video.sources.source import parse_source

from .streams import decoders, ffmpeg_clip, tool

#: A coloured picture with a number, different in each corner; it does not move during the first second.
STILL = "testsrc=size={size}:rate=5:duration=1,format=rgb24"
#: Bars that move across: each of the two fields of a frame shows them elsewhere.
MOVING = "testsrc2=size={size}:rate=50:duration=1"


def ffmpeg(*arguments) -> bytes:
    done = subprocess.run([tool("ffmpeg", "ffmpeg"), "-v", "error", "-y", *map(str, arguments)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@functools.cache
def encoders() -> str:
    return ffmpeg("-encoders").decode()


def made(path: Path, *options, size: str = "320x240", picture: str = STILL, filters: str = "") -> Path:
    """A clip, or a skip where ffmpeg has no such encoder."""
    encoder = options[options.index("-c:v") + 1] if "-c:v" in options else None
    if encoder and f" {encoder} " not in encoders():
        pytest.skip(f"this ffmpeg has no encoder {encoder}")
    source = picture.format(size=size) + (f",{filters}" if filters else "")
    path.write_bytes(ffmpeg_clip(path.suffix, "-f", "lavfi", "-i", source, *map(str, options)))
    return path


def shown(path: Path, filters: str = "", *, inputs: tuple = (), stream: str = "0:V:0") -> np.ndarray:
    """The first picture as ffmpeg shows it."""
    data = _shown(path.suffix, path.read_bytes(), filters, inputs, stream)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@functools.cache
def _shown(suffix: str, content: bytes, filters: str, inputs: tuple, stream: str) -> bytes:
    extra = ("-vf", filters) if filters else ()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip" + suffix)
        path.write_bytes(content)
        one = ("-filter_threads", 1, "-threads", 1)
        out = ("-frames:v", 1, "-f", "image2pipe", "-c:v", "png", "-threads", 1, "-")
        return ffmpeg(*one, *inputs, "-i", path, "-map", stream, *extra, *out)


@pytest.fixture
def camera():
    begun = []

    def make(path) -> Camera:
        begun.append(Camera(parse_source(f"file:{path}", loop=False), paced=False))
        begun[-1].start()
        return begun[-1]

    yield make
    for each in begun:
        each.stop(10)
    assert decoders() == {}


def first(camera: Camera) -> np.ndarray:
    frame = camera.wait(-1, 30)
    assert frame is not None, camera.state
    return frame.pixels


def following(camera: Camera, after: int, count: int) -> np.ndarray:
    """The picture that many after one."""
    for _ in range(count):
        frame = camera.wait(after, 30)
        assert frame is not None, camera.state
        after = frame.number
    return frame.pixels


def alike(ours: np.ndarray, theirs: np.ndarray, within: float = 3.0) -> None:
    assert ours.shape == theirs.shape
    apart = np.abs(ours.astype(int) - theirs.astype(int)).mean()
    assert apart < within, apart


def combed(pixels: np.ndarray) -> float:
    """The share of pixels that differ from the rows above and below, which are alike: two moments in one picture."""
    luma = pixels.astype(int).mean(axis=2)
    up, down, apart = luma[1:-1] - luma[:-2], luma[1:-1] - luma[2:], np.abs(luma[:-2] - luma[2:])
    return float(((up * down > 0) & (np.minimum(np.abs(up), np.abs(down)) > 20) & (apart < 10)).mean())


FORMATS = {
    "h264.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "h264-odd-size.mkv": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", "crop=318:238"),
    "h264-444.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv444p"),
    "h264-422.mov": ("-c:v", "libx264", "-pix_fmt", "yuv422p"),
    "h264-10-bit.mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p10le"),
    "h264-grey.mkv": ("-c:v", "libx264", "-pix_fmt", "gray"),
    "h264-full-range.mp4": ("-c:v", "libx264", "-vf", "scale=out_range=full", "-pix_fmt", "yuvj420p"),
    "h264-bt709.mp4": ("-c:v", "libx264", "-vf", "scale=out_color_matrix=bt709", "-pix_fmt", "yuv420p", "-colorspace", "bt709"),
    "h264.ts": ("-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "h264.flv": ("-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "bare.h264": ("-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "hevc.mkv": ("-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none"),
    "hevc-10-bit.mp4": ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none"),
    "vp8.webm": ("-c:v", "libvpx", "-b:v", "2M"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "2"),
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-q:v", "2", "-r", "25"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj422p"),
    "prores.mov": ("-c:v", "prores_ks"),
    "ffv1-rgb.mkv": ("-c:v", "ffv1", "-pix_fmt", "gbrp"),
    "huffyuv.avi": ("-c:v", "ffvhuff", "-pix_fmt", "rgb24"),
    "theora.ogv": ("-c:v", "libtheora", "-q:v", "9"),
    "dv.dv": ("-c:v", "dvvideo", "-s", "720x576", "-r", "25", "-pix_fmt", "yuv420p"),
    "raw.avi": ("-c:v", "rawvideo", "-pix_fmt", "bgr24"),
    "palette.gif": ("-c:v", "gif"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_format_looks_as_ffmpeg_shows_it(camera, tmp_path, name):
    file = made(tmp_path / name, *FORMATS[name])
    square = "scale=trunc(iw*sar+0.5):ih" if name.startswith("dv") else ""
    alike(first(camera(file)), shown(file, square))


def test_av1_is_read_or_refused_by_its_name(camera, tmp_path):
    file = made(tmp_path / "clip.mkv", "-c:v", "libsvtav1", "-pix_fmt", "yuv420p")
    read = camera(file)
    frame = read.wait(-1, 30)
    if frame is None:  # the wheel of OpenCV 5.0.0 has no decoder for it
        assert read.state.reason == "it is coded as av1, which the installed version of OpenCV cannot decode"
    else:
        alike(frame.pixels, shown(file))


INTERLACED = {
    "h264-top.mp4": ("tff", "-c:v", "libx264", "-flags", "+ildct+ilme", "-x264-params", "tff=1"),
    "h264-bottom.mkv": ("bff", "-c:v", "libx264", "-flags", "+ildct+ilme", "-x264-params", "bff=1"),
    "mpeg2.mpg": ("tff", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2"),
    "mpeg2.ts": ("bff", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-q:v", "2"),
    "dv.avi": ("bff", "-c:v", "dvvideo", "-flags", "+ildct"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", INTERLACED)
def test_interlaced_video_shows_one_moment(camera, tmp_path, name):
    order, *options = INTERLACED[name]
    weave = f"tinterlace=interleave_{'top' if order == 'tff' else 'bottom'},fieldorder={order},format=yuv420p"
    file = made(tmp_path / name, *options, size="720x576", picture=MOVING, filters=f"{weave},setsar=1,setfield={order}")
    square = "scale=trunc(iw*sar+0.5):ih"
    read = camera(file)
    ours = first(read)
    alike(ours, shown(file, f"yadif,{square}"), within=12)
    theirs = shown(file, square)
    assert combed(theirs) > 0.004 > 4 * combed(ours)
    later = following(read, 0, 20)
    assert np.abs(later.astype(int) - ours.astype(int)).mean() > 2  # it moves


def test_progressive_video_that_is_marked_as_interlaced_keeps_every_row(camera, tmp_path):
    file = made(
        tmp_path / "clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-flags", "+ildct+ilme", "-x264-params", "tff=1"
    )
    alike(first(camera(file)), shown(file), within=2)


@pytest.mark.parametrize("form", ["yuv420p", "yuv410p", "yuv422p10le", "gray"])
def test_noise_is_no_sign_of_two_moments(camera, tmp_path, form):
    """The sign is in the brightness of single pixels, of as many bits as the form has: 8 in yuv410p, whatever its name says."""
    options = "-c:v", "ffv1", "-pix_fmt", form, "-field_order", "tt"
    file = made(tmp_path / "clip.mkv", *options, filters="format=gray,noise=alls=9,setfield=tff")
    alike(first(camera(file)), shown(file), within=2)


# -- how it is to be shown --------------------------------------------------------------------------------------------

#: a, b, c, d of a track's matrix.
MATRICES = {
    "as it is": (1, 0, 0, 1),
    "quarter turn": (0, 1, -1, 0),
    "half turn": (-1, 0, 0, -1),
    "three quarters": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "mirrored quarter": (0, 1, 1, 0),
    "mirrored three quarters": (0, -1, -1, 0),
}


def with_matrix(file: Path, a: float, b: float, c: float, d: float) -> None:
    """Write a matrix into the track header of an MP4 file."""
    data = bytearray(file.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    fixed = [round(each * 65536) for each in (a, b, 0, c, d, 0, 0, 0)]
    data[place : place + 36] = struct.pack(">8i", *fixed) + struct.pack(">I", 1 << 30)
    file.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", MATRICES)
def test_a_track_that_is_turned_or_mirrored(camera, tmp_path, name):
    file = made(tmp_path / "clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    plain = shown(file)
    a, b, c, d = MATRICES[name]
    with_matrix(file, a, b, c, d)
    expected = plain.transpose(1, 0, 2) if a == 0 else plain
    across, down = (c, b) if a == 0 else (a, d)
    expected = expected[::down, ::across]
    alike(first(camera(file)), expected, within=2)
    alike(expected, shown(file), within=2)  # ffmpeg says the same


def test_a_track_at_a_slant_is_refused(camera, tmp_path):
    file = made(tmp_path / "clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    with_matrix(file, 0.7071, 0.7071, -0.7071, 0.7071)
    read = camera(file)
    assert read.wait(-1, 30) is None
    assert read.state.reason == "its pictures are rotated by an angle that is not a multiple of 90 degrees"


def test_a_stream_that_says_itself_that_it_is_mirrored(camera, tmp_path):
    plain = made(tmp_path / "plain.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    file = tmp_path / "mirrored.mp4"
    ffmpeg("-i", plain, "-c", "copy", "-bsf:v", "h264_metadata=flip=horizontal:display_orientation=insert", file)
    read = camera(file)
    alike(first(read), shown(plain)[:, ::-1], within=2)
    alike(following(read, 0, 3), shown(plain)[:, ::-1], within=12)  # and so are the pictures after it


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["64/45", "12/11", "1/2", "8/9"])
@pytest.mark.parametrize("turn", ["as it is", "quarter turn"])
def test_pixels_that_are_not_square(camera, tmp_path, shape, turn):
    file = made(tmp_path / "clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", filters=f"setsar={shape}")
    with_matrix(file, *MATRICES[turn])
    above, below = map(int, shape.split("/"))
    square = f"scale={round(320 * above / below)}:240" if above > below else f"scale=320:{round(240 * below / above)}"
    expected = shown(file, square, inputs=("-noautorotate",))
    expected = np.rot90(expected, -1) if turn != "as it is" else expected
    alike(first(camera(file)), expected)


def test_the_default_track_is_shown(camera, tmp_path):
    file = tmp_path / "clip.mkv"
    both = ("-f", "lavfi", "-i", "color=blue:size=640x480:duration=1", "-f", "lavfi", "-i", "color=red:size=320x240:duration=1")
    ffmpeg(*both, "-map", 0, "-map", 1, "-c:v", "libx264", "-disposition:0", 0, "-disposition:1", "default", file)
    assert first(camera(file)).shape == (240, 320, 3)


def test_of_tracks_without_a_default_the_largest_is_shown(camera, tmp_path):
    file = tmp_path / "clip.mkv"
    both = ("-f", "lavfi", "-i", "color=blue:size=320x240:duration=1", "-f", "lavfi", "-i", "color=red:size=640x480:duration=1")
    ffmpeg(*both, "-map", 0, "-map", 1, "-c:v", "libx264", "-disposition:0", 0, "-disposition:1", 0, file)
    assert first(camera(file)).shape == (480, 640, 3)


@pytest.mark.parametrize("disposition", ["attached_pic", "0"])
def test_a_cover_is_no_video(camera, tmp_path, disposition):
    cover = made(tmp_path / "cover.jpg", "-frames:v", 1, "-pix_fmt", "yuvj420p", size="640x480")
    film = made(tmp_path / "film.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    file = tmp_path / ("clip.mp4" if disposition != "0" else "clip.mkv")
    maps = ("-map", 0, "-map", 1, "-c", "copy", "-disposition:0", disposition, "-disposition:1", "default")
    ffmpeg("-i", cover, "-i", film, *maps, file)
    alike(first(camera(file)), shown(film), within=2)


@pytest.mark.slow
def test_music_with_a_cover_holds_no_video(camera, tmp_path):
    cover = made(tmp_path / "cover.jpg", "-frames:v", 1, "-pix_fmt", "yuvj420p")
    sound = ("-f", "lavfi", "-i", "sine=duration=1")
    ffmpeg("-i", cover, *sound, "-map", 0, "-map", 1, "-c:v", "copy", "-disposition:0", "attached_pic", tmp_path / "song.m4a")
    ffmpeg(*sound, tmp_path / "bare.m4a")
    for name, reason in (("song.m4a", "it contains a cover picture, but no video"), ("bare.m4a", "it contains no video")):
        read = camera(tmp_path / name)
        assert read.wait(-1, 30) is None
        assert read.state.name == "ended" and read.state.reason == reason


HDR = {"PQ": ("smpte2084", "arib-std-b67"), "HLG": ("arib-std-b67", "smpte2084")}


@pytest.mark.parametrize("kind", HDR)
def test_hdr_is_shown_in_the_range_of_ordinary_video(camera, tmp_path, kind):
    """A clip in ordinary colours is coded as HDR, with its white at 203 cd/m², and comes back much as it was."""
    plain = shown(made(tmp_path / "plain.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrp"))
    transfer = HDR[kind][0]
    to_hdr = f"zscale=tin=bt709:min=gbr:pin=bt709:rin=full:t={transfer}:m=bt2020nc:p=bt2020:r=tv:npl=203,format=yuv420p10le"
    colours = f"log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    options = ("-c:v", "libx265", "-x265-params", colours)
    try:
        file = made(tmp_path / "hdr.mp4", *options, filters=f"format=gbrp,{to_hdr}")
    except AssertionError as error:
        pytest.skip(f"this ffmpeg cannot make HDR video: {error}"[:200])
    ours = first(camera(file)).astype(int)
    # the same light and dark, the same colours: much nearer than what is shown without tone mapping
    raw = shown(file).astype(int)
    grey, dim = plain.astype(int).mean(axis=2), ours.mean(axis=2)
    assert np.corrcoef(grey.ravel(), dim.ravel())[0, 1] > 0.93
    apart, before = np.abs(ours - plain.astype(int)).mean(), np.abs(raw - plain.astype(int)).mean()
    assert apart < 0.75 * before, (apart, before)


# -- what does not stay as it is --------------------------------------------------------------------------------------


@pytest.mark.parametrize("coder, metadata", [("libx264", "h264_metadata"), ("libx265", "hevc_metadata")])
def test_a_stream_that_cuts_off_columns_at_its_left(camera, tmp_path, coder, metadata):
    cut = f"{metadata}=crop_left=40:crop_right=60:crop_top=20:crop_bottom=60"
    more = ("-x265-params", "log-level=none") if coder == "libx265" else ()
    file = made(tmp_path / "clip.mp4", "-c:v", coder, "-pix_fmt", "yuv420p", *more, "-bsf:v", cut)
    ours = first(camera(file))
    assert ours.shape == (160, 220, 3)
    alike(ours, shown(file, inputs=("-flags", "unaligned")), within=0.5)


@pytest.mark.parametrize("space", ["ycgco", "bt2020_cl", "ictcp"])
def test_colours_that_cannot_be_converted_are_refused(camera, tmp_path, space):
    file = made(tmp_path / "clip.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-colorspace", space)
    read = camera(file)
    assert read.wait(-1, 30) is None
    assert "its colours are coded in a way that is not read" in read.state.reason


@pytest.mark.parametrize("shift", [3000, -3000])
def test_a_recording_whose_timestamps_jump_goes_on(camera, tmp_path, shift):
    """As where the files of a recorder were joined. Going back is a jump ahead by a day: MPEG-TS counts in a circle."""
    parts = [made(tmp_path / "a.ts", "-c:v", "libx264", "-pix_fmt", "yuv420p")]
    parts.append(made(tmp_path / "b.ts", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-output_ts_offset", "3000"))
    file = tmp_path / "both.ts"
    file.write_bytes(b"".join(part.read_bytes() for part in parts[:: 1 if shift > 0 else -1]))
    read, positions, after = camera(file), [], -1
    while (frame := read.wait(after, 30)) is not None:
        after = frame.number
        positions.append(frame.position)
    assert positions == pytest.approx([number / 5 for number in range(10)], abs=0.02)


def test_a_resolution_that_changes_is_followed(camera, tmp_path):
    parts = [
        made(tmp_path / f"{size}.ts", "-c:v", "libx264", "-pix_fmt", "yuv420p", size=size) for size in ("320x240", "640x360")
    ]
    file = tmp_path / "both.ts"
    file.write_bytes(b"".join(part.read_bytes() for part in parts))
    read, sizes, after = camera(file), [], -1
    while (frame := read.wait(after, 30)) is not None:
        after = frame.number
        sizes.append((frame.width, frame.height))
    assert sizes == [(320, 240)] * 5 + [(640, 360)] * 5


def test_the_libraries_of_the_installed_wheel_are_of_a_known_version():
    """Else OpenCV reads, which refuses interlaced video: look at `libav.MAJORS`."""
    assert libav.load() is not None
