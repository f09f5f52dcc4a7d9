"""What comes from outside, made up: requests' bodies, the cache file, networks, names. Each is read or refused, no more.

The photos' decoders are treated so in test_images.py.
"""

from __future__ import annotations

import functools
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from recognizer.core.errors import BadRequest, InvalidName, ModelCorrupt, NameTaken, RecognizerError
from recognizer.engines.dlib import datfile, onnx
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.encodings import Encoding, FileStamp
from recognizer.enrolment.folder import KnownFaces
from recognizer.http import bodies
from recognizer.weights import manifest

from .fuzz import examples

# --- requests' bodies ------------------------------------------------------------------------------------------------

LIMIT = 20_000


def read(data: bytes, kind: str, **environ) -> bodies.Body | None:
    """What the body is read as; None when it is refused as it should be."""
    environ = {"wsgi.input": io.BytesIO(data), "CONTENT_LENGTH": str(len(data)), "CONTENT_TYPE": kind, **environ}
    try:
        body = bodies.read(environ, LIMIT)
    except BadRequest as error:
        assert error.message and len(error.message) < 1000
        return None
    assert all(isinstance(photo, bytes) for photos in body.photos.values() for photo in photos)
    assert all(isinstance(name, str) for name in [*body.fields, *body.photos])
    assert sum(len(photo) for photos in body.photos.values() for photo in photos) <= len(data)
    return body


part_names = st.sampled_from(["file", "other", "subject", "top_k", "image_base64", "", "a" * 200, 'x"y', "ü"])
plain = st.binary(max_size=300)


@st.composite
def parts(draw) -> bytes:
    name = draw(part_names)
    head = f'Content-Disposition: form-data; name="{name}"'
    if draw(st.booleans()):
        head += f'; filename="{draw(st.sampled_from(["a.jpg", "", "../x", "%00", chr(0x202E)]))}"'
    for line in draw(
        st.lists(
            st.sampled_from(
                [
                    "Content-Type: image/jpeg",
                    "Content-Type: text/plain; charset=utf-7",
                    "Content-Transfer-Encoding: base64",
                    "Content-Type: multipart/mixed; boundary=c",
                    "X: " + "y" * 300,
                    ": empty",
                    " folded",
                    "Content-Length: 9999999",
                ]
            ),
            max_size=3,
        )
    ):
        head += "\r\n" + line
    return b"--b\r\n" + head.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + draw(plain) + b"\r\n"


@pytest.mark.slow
@examples(250)
@given(st.lists(parts(), max_size=4), st.integers(0, 3000), st.lists(st.tuples(st.integers(0, 3000), plain), max_size=2))
def test_a_multipart_body_is_read_or_refused(made, cut, pieces):
    data = bytearray(b"".join(made) + b"--b--\r\n")
    for place, piece in pieces:
        data[place % len(data) : place % len(data) + len(piece) // 2] = piece
    read(bytes(data), "multipart/form-data; boundary=b")
    read(bytes(data[:cut]), "multipart/form-data; boundary=b")


@examples(100)
@given(st.dictionaries(st.sampled_from(["subject", "top_k", "threshold"]), st.text(max_size=50)), st.lists(plain, max_size=3))
def test_what_was_put_into_a_multipart_body_comes_out(fields, photos):
    data = b""
    for name, text in fields.items():
        data += f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + text.encode() + b"\r\n"
    for photo in photos:
        assume(b"\r\n--b" not in b"\r\n" + photo)
        data += b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\n\r\n' + photo + b"\r\n"
    assume(not any("\r\n--b" in "\r\n" + text for text in fields.values()))
    body = read(data + b"--b--\r\n", "multipart/form-data; boundary=b")
    assert body is not None and body.fields == fields and body.photos.get("file", []) == photos


kinds = st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "",
        "multipart/form-data; boundary=" + "b" * 300,
        "image/jpeg",
        "application/problem+json; charset=utf-16",
        "text/plain;;;=",
    ]
)


@examples(250)
@given(plain, kinds, st.sampled_from(["", "0", "5", "-1", "1e3", "９", "99999999999999999999", " 7"]))
@example(b"a=1", "application/x-www-form-urlencoded", "９")
def test_any_bytes_with_any_header_are_read_or_refused(data, kind, length):
    read(data, kind)
    read(data, kind, CONTENT_LENGTH=length)
    read(data, kind, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=20,
)


@pytest.mark.slow
@examples(200)
@given(st.dictionaries(st.sampled_from(["image_base64", "other_base64", "subject", "x"]), values) | values)
@example({"image_base64": "=" * 500})
@example({"subject": "\ud800"})
def test_any_json_is_read_or_refused(value):
    read(json.dumps(value).encode(), "application/json")


@pytest.mark.parametrize("depth", [19, 20, 21, 1000, 9000])
@pytest.mark.parametrize("opens, closes", [("[", "]"), ('{"a":', "}")])
def test_json_is_read_as_deep_as_it_may_be(opens, closes, depth):
    data = '{"x":' + opens * (depth - 2) + "1" + closes * (depth - 2) + "}"
    limit = 10 * LIMIT
    environ = {"wsgi.input": io.BytesIO(data.encode()), "CONTENT_LENGTH": str(len(data)), "CONTENT_TYPE": "application/json"}
    if depth <= 20:
        assert "x" in bodies.read(environ, limit).fields
    else:
        with pytest.raises(BadRequest, match="nested"):
            bodies.read(environ, limit)


# --- the cache file --------------------------------------------------------------------------------------------------

STAMP = FileStamp(10, 20, 30)


def encodings_of(count: int) -> dict[str, Encoding]:
    rng = np.random.default_rng(3)
    made = {}
    for i in range(count):
        vector = rng.normal(size=16).astype(np.float32) if i % 4 else None
        problem = {} if i % 4 else {"problem": "no_face", "message": "no face was found"}
        made[f"{i:032x}"] = Encoding(f"{i:032x}", "e/1", "only", vector, box=(1.0, 2.0, 3.0, 4.0), score=0.5, **problem)
    return made


@functools.cache
def cache_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encodings.sqlite"
        cache = EncodingsCache(path)
        made = encodings_of(60)
        cache.put(made.values(), {photo: b"\xff\xd8\xff" + bytes(200) for photo in made})
        cache.remember_files([(f"s {i}/photo.jpg", STAMP, photo) for i, photo in enumerate(made)])
        cache.close()
        return path.read_bytes()


def same(one: Encoding, other: Encoding) -> bool:
    vectors = (one.vector is None and other.vector is None) or np.array_equal(one.vector, other.vector)
    return vectors and (one.box, one.score, one.problem) == (other.box, other.score, other.problem)


def check_cache(folder: Path) -> None:
    """Open what is there, see that nothing comes out that did not go in, and that it works afterwards."""
    written = encodings_of(60)
    cache = EncodingsCache(folder / "encodings.sqlite")
    try:
        for (photo, _), found in cache.encodings("e/1").items():
            assert same(found, written[photo])
        for path, (stamp, photo) in cache.files().items():
            assert stamp == STAMP and path == f"s {int(photo, 16)}/photo.jpg"
        for photo in written:
            assert cache.thumbnail(photo) in (None, b"\xff\xd8\xff" + bytes(200))
        cache.photos()
        cache.put(written.values(), {photo: b"\xff\xd8\xff" + bytes(200) for photo in written})
        cache.remember_files([("new/photo.jpg", STAMP, f"{1:032x}")])
        assert len(cache.encodings("e/1")) >= 60
        assert cache.files()["new/photo.jpg"] == (STAMP, f"{1:032x}")
        cache.forget([f"{i:032x}" for i in range(60)])
        cache.forget_other_engines("e/1")
        assert cache.encodings("e/1") == {}
    finally:
        cache.close()


damage = st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=40))


@pytest.mark.slow
@examples(120)
@given(st.lists(damage, min_size=1, max_size=5), st.none() | st.integers(0, 10**6))
def test_a_damaged_cache_gives_what_was_written_or_nothing_and_works_on(changes, cut):
    data = bytearray(cache_file())
    for place, piece in changes:
        place %= len(data)
        data[place : place + len(piece)] = piece
    if cut is not None:
        data = data[: cut % len(data)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "encodings.sqlite").write_bytes(data)
        check_cache(Path(folder))


def test_a_damaged_head_that_speaks_of_pointer_maps_is_no_full_disk(tmp_path):
    data = bytearray(cache_file())
    data[52:56] = b"@\0\0\0"  # the largest root page: not 0 where SQLite keeps pointer maps
    data[33842] = 0  # and a row that makes the file be written anew
    (tmp_path / "encodings.sqlite").write_bytes(data)
    check_cache(tmp_path)


@pytest.mark.slow
@examples(60)
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_a_single_flipped_bit_is_never_another_face(place, bit):
    data = bytearray(cache_file())
    data[place % len(data)] ^= 1 << bit
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "encodings.sqlite").write_bytes(data)
        check_cache(Path(folder))


@pytest.mark.slow
@examples(40)
@given(st.binary(max_size=600), st.sampled_from(["-wal", "-shm", "-journal"]))
def test_foreign_bytes_beside_the_cache_do_no_harm(content, suffix):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "encodings.sqlite").write_bytes(cache_file())
        (Path(folder) / f"encodings.sqlite{suffix}").write_bytes(content)
        check_cache(Path(folder))


# --- dlib's networks -------------------------------------------------------------------------------------------------


@functools.cache
def network_file(name: str) -> bytes:
    return manifest.dlib_file(name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "read_network, name",
    [
        (datfile.read_mmod, onnx.MMOD_FILE),
        (datfile.read_resnet, onnx.RESNET_FILE),
    ],
)
def test_an_altered_network_is_read_or_refused(read_network, name):
    pytest.importorskip("dlib")

    @examples(40)
    @given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=9)), max_size=4), st.none() | st.floats(0, 1))
    def check(changes, cut):
        data = bytearray(network_file(name))
        for share, piece in changes:
            # half of them where the sizes and names of the first layers are
            place = int(share * 2 * 4000) if share < 0.5 else int((share - 0.5) * 2 * (len(data) - 10))
            data[place : place + len(piece)] = piece
        if cut is not None:
            data = data[: int(cut * len(data))]
        try:
            network = read_network(bytes(data))
        except ModelCorrupt as error:
            assert error.message
        else:
            arrays = [array for each in network.layers for array in each.arrays.values()]
            assert arrays and all(array.dtype == np.float32 for array in arrays)

    check()


# --- names and paths -------------------------------------------------------------------------------------------------

hostile_names = st.sampled_from([
    "..", ".", "", "a/b", "a\\b", "../../etc", "C:", "nul", "con.txt", "a\0b", ".hidden", "name.", "x" * 300, "ü" * 150,
    "\u202egpj", " ", "a\nb", "Ann", "ANN", "Ann ", "A\u030angstr\u00f6m", "\u00c5ngstr\u00f6m", ".part-x", ".deleted-x",
    "readme.md", "thumbs.db", "a:b", "%2e%2e", "-rf", "~root", "$HOME", "\ud800",
])  # fmt: skip


@pytest.mark.slow
@examples(150)
@given(st.lists(st.text(max_size=30) | hostile_names, min_size=1, max_size=6))
def test_whatever_a_subject_is_called_its_photo_lies_in_a_folder_of_its_own_and_is_found_again(wanted):
    from recognizer.core import names

    with tempfile.TemporaryDirectory() as outer:
        root = Path(outer) / "known"
        known = KnownFaces(root)
        stored = {}
        for number, raw in enumerate(wanted):
            try:
                name = names.normalise(raw)
                path = known.add(name, f"{number:032x}", "jpg", b"photo")
            except (InvalidName, NameTaken):
                continue
            stored[path] = name
            place = (root / path).resolve()
            assert place.parent.parent == root.resolve() and place.read_bytes() == b"photo"
        assert os.listdir(outer) == ["known"]  # nothing beside it
        photos, _ = known.scan()
        found = {photo.path: photo.subject for photo in photos}
        kept = {path: name for path, name in stored.items() if name.lower() not in ("readme.md", "thumbs.db")}
        assert {path: found.get(path) for path in kept} == kept
        for name in set(stored.values()):
            known.remove_subject(name)
        assert known.scan() == ([], []) and os.listdir(root) == []
        shutil.rmtree(root)


@pytest.mark.slow
@examples(150)
@given(st.text(max_size=40) | hostile_names)
def test_looking_for_any_name_finds_nobody_outside(name):
    with tempfile.TemporaryDirectory() as outer:
        (Path(outer) / "secret").mkdir()
        (Path(outer) / "secret" / "photo.jpg").write_bytes(b"x")
        known = KnownFaces(Path(outer) / "known")
        try:
            from recognizer.core import names

            wanted = names.normalise(name)
        except RecognizerError:
            return
        known.remove_subject(wanted)
        assert known.subject_folder(wanted) is None
        assert (Path(outer) / "secret" / "photo.jpg").read_bytes() == b"x"
