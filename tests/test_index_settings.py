"""The configuration of pip and uv, from the environment and their files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recognizer.weights.index_settings import PYPI, IndexSettings


def settings(tmp_path, **environ) -> IndexSettings:
    alone = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    return IndexSettings.from_environment({**alone, **environ})


@pytest.mark.parametrize(
    ("environ", "indexes"),
    [
        ({}, (PYPI,)),
        ({"PIP_INDEX_URL": "https://a/simple"}, ("https://a/simple",)),
        ({"UV_DEFAULT_INDEX": "https://b/simple", "PIP_INDEX_URL": "https://a/"}, ("https://b/simple", "https://a/")),
        ({"UV_DEFAULT_INDEX": "mine=https://b/simple"}, ("https://b/simple",)),
        ({"UV_INDEX_URL": "https://c/"}, ("https://c/",)),
        ({"PIP_EXTRA_INDEX_URL": "https://d/ https://e/"}, (PYPI, "https://d/", "https://e/")),
        (
            {"UV_INDEX": "corp=https://f/x", "UV_INDEX_CORP_USERNAME": "me", "UV_INDEX_CORP_PASSWORD": "p/w"},
            (PYPI, "https://me:p%2Fw@f/x"),
        ),
        ({"PIP_NO_INDEX": "1"}, ()),
    ],
)
def test_indexes_named_in_the_environment(tmp_path, environ, indexes):
    assert settings(tmp_path, **environ).indexes == indexes


def test_pips_configuration_file(tmp_path):
    cert = tmp_path / "own.pem"
    cert.touch()
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://a/simple\nextra-index-url =\n  https://b/\n  https://c/\n"
        f"cert = {cert}\ntrusted-host = d:8080\nproxy = http://p:1\n[download]\nfind-links = /wheels\n"
    )
    found = settings(tmp_path, PIP_CONFIG_FILE=str(file), PIP_TIMEOUT="1")
    assert "https://a/simple" == found.indexes[0] and {"https://b/", "https://c/"} < set(found.indexes)
    assert (found.cert, found.proxy) == (str(cert), "http://p:1")
    assert "d:8080" in found.trusted_hosts and Path("/wheels").as_uri() in found.find_links


def test_uvs_configuration_file(tmp_path):
    file = tmp_path / "uv.toml"
    file.write_text(
        '[[index]]\nurl = "https://a/simple"\ndefault = true\n[[index]]\nname = "b"\nurl = "https://b/"\n'
        '[pip]\nextra-index-url = ["https://c/"]\n'
    )
    found = settings(tmp_path, UV_NO_CONFIG="", UV_CONFIG_FILE=str(file))
    assert found.indexes == ("https://a/simple", "https://b/", "https://c/")
