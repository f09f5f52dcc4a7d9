"""Photos examined side by side are as examined alone, however many are described together."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from recognizer.core.errors import NoFace
from recognizer.enrolment import examination
from recognizer.enrolment.encodings import photo_id
from recognizer.enrolment.examination import EncodingOptions, EnrolmentRules, Work, examine, examine_files
from recognizer.photos import images


@pytest.fixture
def files(tmp_path, photos) -> list:
    names = ["obama.jpg", "biden.jpg", "astronaut.png", "obama2.jpg", "obama3.jpg"]
    contents = [photos[name].read_bytes() for name in names]
    contents[1:1] = [b"no photo", images.encode_jpeg(np.full((90, 120, 3), 128, np.uint8))]
    paths = [tmp_path / f"{number}.jpg" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


@pytest.fixture(scope="module")
def alone(engine):
    """What a photo gives alone, asked once."""
    return functools.cache(lambda content: examine(engine, content, EnrolmentRules()))


@pytest.mark.slow
@pytest.mark.parametrize("memory", [1, 2_000_000, examination.SIDE_BY_SIDE])
@pytest.mark.parametrize("times", [1, 4])  # one by one, and many: by threads
def test_in_any_company(engine, recipe, files, alone, monkeypatch, memory, times):
    monkeypatch.setattr(examination, "SIDE_BY_SIDE", memory)
    work = [Work(path, photo_id(path.read_bytes()), "only") for path in files] * times
    steps: list[int] = []
    found = list(examine_files(work, EncodingOptions(engine, recipe, EnrolmentRules(), 2), steps.append))
    assert sum(steps) == len(work) == len(found)
    for each, one in zip(work, found, strict=True):
        if one.encoding.problem:
            assert one.encoding.vector is None and one.thumbnail is None
            continue
        expected = alone(each.path.read_bytes())
        assert one.encoding.photo == each.photo and one.encoding.box == expected.encoding.box
        assert np.allclose(one.encoding.vector, expected.encoding.vector, rtol=0, atol=1e-5)
        assert one.thumbnail == expected.thumbnail
    problems = [one.encoding.problem for one in found[: len(files)]]
    assert problems[0] is None and problems[1:3] == ["unsupported_image", "no_face"] and not any(problems[3:])


def test_alone_a_photo_without_a_face_is_refused(engine, files):
    with pytest.raises(NoFace):
        examine(engine, files[2].read_bytes(), EnrolmentRules())
