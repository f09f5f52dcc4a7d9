"""Reads video with the FFmpeg libraries that OpenCV's wheel contains, through ctypes. Used by `decoder.py` only.

OpenCV's own reader of FFmpeg is not enough: from OpenCV 4.13 on it returns uninitialised memory for interlaced video, it
always takes the first video track, and it ignores mirroring, pixel shape and HDR. Everything here goes through FFmpeg's
public functions; the few fields that have no function are read at the offsets of FFmpeg 8 (`MAJORS`). With other versions
`load` returns None, and OpenCV reads.

This module imports nothing of the package, since `decoder.py` is started by its path.
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util
import os
import re
import sys
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_uint, c_void_p
from typing import Any

import numpy as np

#: Major versions of FFmpeg's libraries whose fields are where this module reads them.
MAJORS = {"avformat": 62, "avcodec": 62, "avutil": 60, "swscale": 9}
#: The largest ratio of a pixel's sides that is believed.
MOST_STRETCH = 4.0
_VIDEO = 0
_EOF, _AGAIN, _INVALID = -541478725, -11 if os.name != "nt" else -35, -1094995529
_NO_TIME = -(1 << 63)
_DEFAULT, _ATTACHED, _THUMBNAILS = 0x1, 0x400, 0x800
_DISCARD_ALL = 48
_BACKWARD = 1
_INTERLACED, _TOP_FIRST = 1 << 3, 1 << 4
_PACKET_MATRIX, _FRAME_MATRIX = 5, 6
_PQ, _HLG = 16, 18
_BILINEAR, _BICUBIC, _FULL_RANGE, _RGB_SPACE, _UNSPECIFIED = 2, 4, 2, 0, 2
#: Ways to code colours that FFmpeg's scaler does not know, and would convert by another one's formula: YCgCo, BT.2020 with
#: constant luminance, ICtCp (of Dolby Vision) and others (ITU-T H.273, table 4).
_UNREAD_SPACES = {8, 10, 11, 13, 14, 15, 16, 17}
#: Coded pictures. A track of these beside a track of video is a cover.
_PICTURES = {b"mjpeg", b"png", b"bmp", b"gif", b"tiff", b"webp"}
#: Names of formats whose samples have more than 8 bits: how many.
_DEEP = re.compile(rb"(?:yuva?\d{3}p|gray)(\d\d?)[lb]e$")
#: Errors in a row that a decoder may report before the source is given up.
_MOST_ERRORS = 64
#: Of a frame's luma: how far a row must differ from both neighbours, and the share of such pixels, to show two moments.
_COMB_STEP, _COMB_SHARE = 20, 0.004


class LibavError(Exception):
    """A source cannot be read: `reason` is one of the decoder's words for it, or None where FFmpeg said why."""

    def __init__(self, reason: str | None = None):
        super().__init__(reason or "")
        self.reason = reason


def _folders() -> list[str]:
    spec = importlib.util.find_spec("cv2")  # does not import it, which takes half a second
    if spec is None or spec.origin is None:
        return []
    package = os.path.dirname(spec.origin)
    return [*glob.glob(os.path.join(os.path.dirname(package), "opencv_python*.libs")), os.path.join(package, ".dylibs")]


def load() -> Libraries | None:
    """FFmpeg's libraries; None where there are none of a known version."""
    for folder in _folders():
        found = {}
        for name in ("avutil", "swscale", "avcodec", "avformat"):
            for path in glob.glob(os.path.join(folder, f"lib{name}[-.]*")):
                try:
                    found[name] = ctypes.CDLL(path)
                except OSError:
                    continue
        if all(name in found and getattr(found[name], f"{name}_version")() >> 16 == major for name, major in MAJORS.items()):
            return Libraries(found)
    return None


class Libraries:
    """The functions that are used, with their types."""

    def __init__(self, found: dict[str, ctypes.CDLL]):
        self._found = found
        pointer, text, number = c_void_p, c_char_p, c_int
        out = POINTER(c_void_p)
        self.open_input = self._function("avformat", "avformat_open_input", number, out, text, pointer, out)
        self.close_input = self._function("avformat", "avformat_close_input", None, out)
        self.find_stream_info = self._function("avformat", "avformat_find_stream_info", number, pointer, pointer)
        self.seek = self._function("avformat", "av_seek_frame", number, pointer, number, c_int64, number)
        self.read_frame = self._function("avformat", "av_read_frame", number, pointer, pointer)
        self.guess_rate = self._function("avformat", "av_guess_frame_rate", _Ratio, pointer, pointer, pointer)
        self.guess_shape = self._function("avformat", "av_guess_sample_aspect_ratio", _Ratio, pointer, pointer, pointer)
        self.find_decoder = self._function("avcodec", "avcodec_find_decoder", pointer, number)
        self.codec_name = self._function("avcodec", "avcodec_get_name", text, number)
        self.context_new = self._function("avcodec", "avcodec_alloc_context3", pointer, pointer)
        self.context_free = self._function("avcodec", "avcodec_free_context", None, out)
        self.context_fill = self._function("avcodec", "avcodec_parameters_to_context", number, pointer, pointer)
        self.codec_open = self._function("avcodec", "avcodec_open2", number, pointer, pointer, pointer)
        self.flush = self._function("avcodec", "avcodec_flush_buffers", None, pointer)
        self.send_packet = self._function("avcodec", "avcodec_send_packet", number, pointer, pointer)
        self.receive_frame = self._function("avcodec", "avcodec_receive_frame", number, pointer, pointer)
        self.packet_new = self._function("avcodec", "av_packet_alloc", pointer)
        self.packet_free = self._function("avcodec", "av_packet_free", None, out)
        self.packet_unref = self._function("avcodec", "av_packet_unref", None, pointer)
        self.packet_data = self._function("avcodec", "av_packet_side_data_get", pointer, pointer, number, number)
        self.packet_data_name = self._function("avcodec", "av_packet_side_data_name", text, number)
        self.frame_new = self._function("avutil", "av_frame_alloc", pointer)
        self.frame_free = self._function("avutil", "av_frame_free", None, out)
        self.frame_data = self._function("avutil", "av_frame_get_side_data", pointer, pointer, number)
        self.option = self._function("avutil", "av_opt_set", number, pointer, text, text, number)
        self.dict_set = self._function("avutil", "av_dict_set", number, out, text, text, number)
        self.dict_free = self._function("avutil", "av_dict_free", None, out)
        self.strerror = self._function("avutil", "av_strerror", number, number, text, ctypes.c_size_t)
        self.log_level = self._function("avutil", "av_log_set_level", None, number)
        self.format_number = self._function("avutil", "av_get_pix_fmt", number, text)
        self.format_name = self._function("avutil", "av_get_pix_fmt_name", text, number)
        self.scaler = self._function("swscale", "sws_getCachedContext", pointer, pointer, *[number] * 7, *[pointer] * 3)
        self.scaler_free = self._function("swscale", "sws_freeContext", None, pointer)
        self.scale = self._function("swscale", "sws_scale", number, pointer, pointer, pointer, number, number, pointer, pointer)
        self.coefficients = self._function("swscale", "sws_getCoefficients", pointer, number)
        self.colours = self._function(
            "swscale", "sws_setColorspaceDetails", number, *[pointer, pointer, number] * 2, *[number] * 2
        )
        self.rgb24 = self.format_number(b"rgb24")
        self.rgb48 = self.format_number(b"rgb48le" if sys.byteorder == "little" else b"rgb48be")
        self.cropping = next((n for n in range(64) if self.packet_data_name(n) == b"Frame Cropping"), None)
        self.log_level(24)

    def _function(self, library: str, name: str, result, *arguments) -> Any:
        function = getattr(self._found[library], name)
        function.restype, function.argtypes = result, arguments
        return function

    def message(self, code: int) -> str:
        """What FFmpeg calls an error."""
        text = ctypes.create_string_buffer(128)
        self.strerror(code, text, len(text))
        return text.value.decode("ascii", "replace")


class _Ratio(ctypes.Structure):
    _fields_ = (("num", c_int), ("den", c_int))

    def value(self) -> float:
        return self.num / self.den if self.num > 0 and self.den > 0 else 0.0


def _int(address: int, offset: int) -> int:
    return c_int.from_address(address + offset).value


def _long(address: int, offset: int) -> int:
    return c_int64.from_address(address + offset).value


def _pointer(address: int, offset: int) -> int:
    return c_void_p.from_address(address + offset).value or 0


class _Stream:
    """The fields of an AVStream and its AVCodecParameters."""

    def __init__(self, address: int):
        self.address = address
        self.index = _int(address, 8)
        self.parameters = _pointer(address, 16)
        self.tick = _Ratio.from_address(address + 32).value()
        self.start = _long(address, 40)
        self.disposition = _int(address, 64)
        self.type, self.codec = _int(self.parameters, 0), _int(self.parameters, 4)
        self.width, self.height = _int(self.parameters, 72), _int(self.parameters, 76)

    def discard(self) -> None:
        """Have the demuxer pass over it."""
        c_int.from_address(self.address + 68).value = _DISCARD_ALL


class _Frame:
    """The fields of an AVFrame."""

    def __init__(self, address: int):
        self.address = address
        self.width, self.height, self.format = _int(address, 104), _int(address, 108), _int(address, 116)
        self.flags = _int(address, 276)
        self.range, self.transfer, self.space = _int(address, 280), _int(address, 288), _int(address, 292)
        self.time = _long(address, 304)
        self.planes = (c_void_p * 4).from_address(address)
        self.strides = (c_int * 4).from_address(address + 64)


class AvCapture:
    """A source that is open; see `decoder.Capture`.

    Parameters
    ----------
    libraries : Libraries
    address : str
    options : dict
        For the demuxer and its protocols.
    threads : int
        0 for as many as there are processors.
    note : callable
        Takes FFmpeg's words for an error.
    key_frames : bool
        Whether only key frames are decoded, which depend on no others: a few in every minute.

    Raises
    ------
    LibavError
    """

    def __init__(
        self,
        libraries: Libraries,
        address: str,
        options: dict[str, str],
        threads: int,
        note,
        key_frames: bool = False,
    ):
        self._av, self._note, self._key_frames = libraries, note, key_frames
        self._input, self._context = c_void_p(), c_void_p()
        self._packet, self._frame = c_void_p(libraries.packet_new()), c_void_p(libraries.frame_new())
        self._scaler: int | None = None
        self._made: tuple | None = None
        self._scratch = np.empty(0, np.uint8)
        self._flushing = False
        self._last: _Frame | None = None
        self._origin: int | None = None
        self._turn: tuple[int, int, int, int] | None = None
        self._tones: Any = None
        self.position = 0.0
        try:
            self._open(address.encode(), options, threads)
        except BaseException:
            self.release()
            raise

    # -- opening ------------------------------------------------------------------------------------------------

    def _open(self, address: bytes, options: dict[str, str], threads: int) -> None:
        av, given = self._av, c_void_p()
        for name, value in options.items():
            av.dict_set(byref(given), name.encode(), value.encode(), 0)
        try:
            self._must(av.open_input(byref(self._input), address, None, byref(given)))
        finally:
            av.dict_free(byref(given))
        self._must(av.find_stream_info(self._input, None))
        base = self._input.value or 0
        count = c_uint.from_address(base + 44).value
        streams = [_Stream(each) for each in (c_void_p * count).from_address(_pointer(base, 48)) if each]
        self._stream = self._choose(streams)
        for each in streams:
            if each is not self._stream:
                each.discard()
        codec = av.find_decoder(self._stream.codec)
        if not codec:
            raise LibavError("no_decoder:" + self._name(self._stream))
        self._context = c_void_p(av.context_new(codec))
        self._must(av.context_fill(self._context, self._stream.parameters))
        av.option(self._context, b"threads", str(threads).encode() if threads else b"auto", 0)
        av.option(self._context, b"flags", b"+unaligned", 0)  # else only some of the columns at the left are cut off
        if self._key_frames:
            av.option(self._context, b"skip_frame", b"nokey", 0)
        code = av.codec_open(self._context, codec, None)
        if code < 0:
            self._note(av.message(code))
            raise LibavError("no_decoder:" + self._name(self._stream))
        self.rate = av.guess_rate(self._input, self._stream.address, None).value()
        self.clockless = self._name(self._stream) == "mjpeg"

    def _name(self, stream: _Stream) -> str:
        return self._av.codec_name(stream.codec).decode("ascii", "replace")

    def _choose(self, streams: list[_Stream]) -> _Stream:
        """The track that players show: the default one, and of several the one with most pixels. Never a cover."""
        tracks = [each for each in streams if each.type == _VIDEO]
        shown = [each for each in tracks if not each.disposition & (_ATTACHED | _THUMBNAILS)]
        if not shown:
            raise LibavError("only_cover" if tracks else "no_video")
        moving = [each for each in shown if self._av.codec_name(each.codec) not in _PICTURES]
        return max(moving or shown, key=lambda each: (each.disposition & _DEFAULT, each.width * each.height, -each.index))

    def _must(self, code: int) -> None:
        if code < 0:
            self._note(self._av.message(code))
            raise LibavError

    # -- reading ------------------------------------------------------------------------------------------------

    def grab(self) -> bool:
        """Decode the next frame; False when there is none."""
        av, errors = self._av, 0
        while True:
            code = av.receive_frame(self._context, self._frame)
            if code >= 0:
                self._arrived(_Frame(self._frame.value or 0))
                return True
            if code != _AGAIN:
                if code == _EOF or self._flushing or errors >= _MOST_ERRORS:
                    return False
                errors += 1
            if self._flushing:
                return False
            code = av.read_frame(self._input, self._packet)
            if code == _AGAIN:
                time.sleep(0.001)
                continue
            if code < 0:
                if code != _EOF:
                    self._note(av.message(code))
                self._flushing = True
                av.send_packet(self._context, None)
                continue
            try:
                if _int(self._packet.value or 0, 36) == self._stream.index:
                    code = av.send_packet(self._context, self._packet)
                    if code < 0 and code != _AGAIN:
                        errors += 1
                        if errors > _MOST_ERRORS:
                            self._note(av.message(code))
                            return False
            finally:
                av.packet_unref(self._packet)

    def seek(self, seconds: float) -> None:
        """Go to the last key frame at or before a position. Where a source cannot, reading goes on behind its first frame."""
        if self.grab():  # the first frame, from which positions are counted
            target = (self._origin or 0) + int(seconds / self._stream.tick) if self._stream.tick else 0
            if self._av.seek(self._input, self._stream.index, target, _BACKWARD) >= 0:
                self._av.flush(self._context)
                self._flushing = False

    def _arrived(self, frame: _Frame) -> None:
        self._last = frame
        if frame.time != _NO_TIME:
            if self._origin is None:
                self._origin = frame.time
            self.position = (frame.time - self._origin) * self._stream.tick

    def shape(self) -> tuple[int, int] | None:
        """Height and width of the picture as it is to be shown.

        Raises
        ------
        LibavError
            It is to be shown in a way that is not supported.
        """
        frame = self._last
        if frame is None or frame.width <= 0 or frame.height <= 0:
            return None
        name = self._av.format_name(frame.format)
        if name is None:
            return None
        if frame.space in _UNREAD_SPACES and not name.startswith(b"gray"):
            raise LibavError("colours")
        self._turn = turn = self._turned(frame)
        height, width = self._upright(frame)
        top, bottom, left, right = self._cropped(frame, height, width)
        height, width = height - top - bottom, width - left - right
        return (width, height) if turn[0] == 0 else (height, width)

    def write(self, picture: np.ndarray) -> None:
        """Draw the frame into `picture`, RGB uint8 of the size that `shape` gave."""
        frame = self._last
        assert frame is not None, "`shape` was asked first"
        height, width = self._upright(frame)
        top, bottom, left, right = crop = self._cropped(frame, height, width)
        deep = frame.transfer in (_PQ, _HLG)
        if not deep and self._turn == (1, 0, 0, 1) and not any(crop):
            return self._convert(frame, picture, self._av.rgb24)
        count = height * width * 3 * (2 if deep else 1)
        if self._scratch.size < count + 64:
            self._scratch = np.empty(count + 64, np.uint8)
        whole = self._scratch[:count].view(np.uint16 if deep else np.uint8).reshape(height, width, 3)
        self._convert(frame, whole, self._av.rgb48 if deep else self._av.rgb24)
        if deep:
            whole = self._tone_mapped(whole, frame.transfer)
        whole = whole[top : height - bottom, left : width - right]
        a, b, c, d = self._turn or (1, 0, 0, 1)
        if a == 0:
            whole = whole.transpose(1, 0, 2)
            picture[...] = whole[:: 1 if b > 0 else -1, :: 1 if c > 0 else -1]
        else:
            picture[...] = whole[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1]

    def _convert(self, frame: _Frame, picture: np.ndarray, form: int) -> None:
        """Scale and convert the coded frame, or one field of it."""
        av, (height, width) = self._av, picture.shape[:2]
        planes, strides = (c_void_p * 4)(*frame.planes), (c_int * 4)(*frame.strides)
        rows, method = frame.height, _BICUBIC
        if frame.flags & _INTERLACED and rows % 2 == 0 and self._combed(frame):
            second = not frame.flags & _TOP_FIRST  # of the two moments, the first
            for number in range(4):
                if planes[number]:
                    planes[number] = (planes[number] or 0) + (strides[number] if second else 0)
                    strides[number] *= 2
            rows, method = rows // 2, _BILINEAR
        self._scaler = av.scaler(self._scaler, frame.width, rows, frame.format, width, height, form, method, None, None, None)
        if not self._scaler:
            raise LibavError("damaged")
        made = (self._scaler, frame.space, frame.range, frame.width, rows, frame.format, width, height, form)
        if made != self._made:
            self._made = made
            space = 5 if frame.space in (_RGB_SPACE, _UNSPECIFIED) else frame.space
            name = self._av.format_name(frame.format) or b""
            full = frame.range == _FULL_RANGE or name.startswith((b"yuvj", b"rgb", b"bgr", b"gbr"))
            table, plain = av.coefficients(space), av.coefficients(5)
            av.colours(self._scaler, table, int(full), plain, 1, 0, 1 << 16, 1 << 16)
        out, steps = (c_void_p * 4)(picture.ctypes.data), (c_int * 4)(picture.strides[0])
        if av.scale(self._scaler, planes, strides, 0, rows, out, steps) <= 0:
            raise LibavError("damaged")

    def _combed(self, frame: _Frame) -> bool:
        """Whether the two fields of a frame show two moments. Where nothing moves, and in progressive video that is marked
        as interlaced, they show one, and the whole frame is better than a field."""
        name = self._av.format_name(frame.format) or b""
        if not name.startswith((b"yuv", b"nv12", b"gray")) or frame.planes[0] is None or frame.strides[0] <= 0:
            return True
        deep = _DEEP.match(name)
        bits = int(deep[1]) if deep else 8
        size, step = 1 if bits == 8 else 2, frame.strides[0]
        memory = (ctypes.c_uint8 * (step * (frame.height - 1) + frame.width * size)).from_address(frame.planes[0] or 0)
        flat: np.ndarray = np.ctypeslib.as_array(memory)
        rows: np.ndarray = np.ndarray((frame.height, frame.width), f"u{size}", flat, strides=(step, size))
        # of every eight rows the first five, and of those every eighth pixel
        groups = rows[: frame.height // 8 * 8, ::8].reshape(-1, 8, -(-frame.width // 8))[:, :5]
        luma = (groups >> (bits - 8)).astype(np.int16)
        jump = np.diff(luma, axis=1)
        teeth = np.sign(jump[:, :-1]) * np.sign(jump[:, 1:]) < 0
        teeth &= np.minimum(np.abs(jump[:, :-1]), np.abs(jump[:, 1:])) > _COMB_STEP
        # rows of one field resemble each other there, which edges of the scene itself do not
        teeth &= np.abs(luma[:, 2:] - luma[:, :-2]) < np.minimum(np.abs(jump[:, :-1]), np.abs(jump[:, 1:]))
        return bool(teeth.size) and float(teeth.mean()) > _COMB_SHARE

    # -- how it is to be shown ----------------------------------------------------------------------------------

    def _upright(self, frame: _Frame) -> tuple[int, int]:
        """Height and width with square pixels, before cropping and turning: never fewer pixels than are coded."""
        shape = self._av.guess_shape(self._input, self._stream.address, self._frame).value() or 1.0
        if not 1 / MOST_STRETCH <= shape <= MOST_STRETCH or abs(shape - 1) < 0.004:
            return frame.height, frame.width
        if shape > 1:
            return frame.height, round(frame.width * shape)
        return round(frame.height / shape), frame.width

    def _cropped(self, frame: _Frame, height: int, width: int) -> tuple[int, int, int, int]:
        """Rows and columns that the container cuts off: top, bottom, left, right."""
        data = self._stream_data(self._av.cropping) if self._av.cropping is not None else 0
        if not data:
            return 0, 0, 0, 0
        top, bottom, left, right = (c_uint.from_address(data + 4 * n).value for n in range(4))
        if top + bottom >= frame.height or left + right >= frame.width:
            return 0, 0, 0, 0
        down, across = height / frame.height, width / frame.width
        return round(top * down), round(bottom * down), round(left * across), round(right * across)

    def _stream_data(self, kind: int) -> int:
        """The address of a track's side data of one kind; 0 if it has none."""
        data, count = _pointer(self._stream.parameters, 32), _int(self._stream.parameters, 40)
        found = self._av.packet_data(data, count, kind) if data and count else None
        return _pointer(found, 0) if found else 0

    def _turned(self, frame: _Frame) -> tuple[int, int, int, int]:
        """How the picture is turned and mirrored: x' = ax + cy, y' = bx + dy, each of -1, 0 and 1."""
        found = self._av.frame_data(frame.address, _FRAME_MATRIX)
        if not found and self._turn is not None:
            return self._turn  # a frame's rotation applies until another frame has a different one
        data = _pointer(found, 8) if found else self._stream_data(_PACKET_MATRIX)
        if not data:
            return 1, 0, 0, 1
        a, b, c, d = (_int(data, 4 * n) / 65536 for n in (0, 1, 3, 4))
        largest = max(map(abs, (a, b, c, d)))
        if largest == 0:
            return 1, 0, 0, 1
        a, b, c, d = (round(each / largest) if abs(abs(each / largest) - 0.5) > 0.4 else 2 for each in (a, b, c, d))
        if (abs(a), abs(b), abs(c), abs(d)) not in ((1, 0, 0, 1), (0, 1, 1, 0)):
            raise LibavError("slanted")
        return int(a), int(b), int(c), int(d)

    def _tone_mapped(self, deep: np.ndarray, transfer: int) -> np.ndarray:
        """sRGB of 16-bit HDR pixels with BT.2020 primaries."""
        import cv2

        if self._tones is None or self._tones[0] != transfer:
            self._tones = (transfer, tone_curve(transfer))
        plain = np.take(self._tones[1], deep >> 4)
        return cv2.transform(plain, _NARROWER)

    def release(self) -> None:
        """Free everything."""
        av = self._av
        if self._scaler:
            av.scaler_free(self._scaler)
            self._scaler = None
        av.frame_free(byref(self._frame))
        av.packet_free(byref(self._packet))
        if self._context:
            av.context_free(byref(self._context))
        if self._input:
            av.close_input(byref(self._input))


#: From BT.2020's primaries to those of sRGB. Applied to gamma-coded values, which is close for faces and much faster.
_NARROWER = np.array([[1.66, -0.59, -0.07], [-0.12, 1.13, -0.01], [-0.02, -0.1, 1.12]], np.float32)


def tone_curve(transfer: int) -> np.ndarray:
    """sRGB values, uint8, of the 4096 levels of a PQ or HLG channel.

    White of ordinary video (203 cd/m², ITU-R BT.2408) becomes about four fifths of the range; brighter light is compressed
    into what is left, so that it keeps its shape.
    """
    level = np.linspace(0, 1, 4096)
    if transfer == _PQ:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        root = level ** (1 / m2)
        light = 10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) / 203
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(level <= 0.5, level**2 / 3, (np.exp((level - c) / a) + b) / 12)
        light = 1000 * scene**1.2 / 203
    white, knee = 0.6, 0.45  # of the linear range: where ordinary white ends up, and where compression begins
    light = light * white
    mapped = np.where(light <= knee, light, knee + (1 - knee) * (1 - np.exp(-(light - knee) / (1 - knee))))
    mapped = np.clip(mapped, 0, 1)
    coded = np.where(mapped <= 0.0031308, 12.92 * mapped, 1.055 * mapped ** (1 / 2.4) - 0.055)
    return np.round(255 * coded).astype(np.uint8)
