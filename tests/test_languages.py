"""The page's catalogues: every text is in each of them, with its places and plural forms, and fits on a phone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import recognizer
from recognizer.core import errors
from recognizer.core.catalogues import LANGUAGES, MESSAGES
from recognizer.http.pages import FOLDER
from recognizer.photos.remarks import SENTENCES

from .texts import Text, calls_without_literal, catalogues, modules, texts, untranslated

MODULES = modules()
CATALOGUES = catalogues()
TEXTS = {text: Text(text) for text in MESSAGES} | {text.key: text for code in MODULES.values() for text in texts(code)}
#: The plural forms of whole numbers (CLDR). French, Spanish and Portuguese have one more for millions, which may be missing.
FORMS = {
    "de": {"one", "other"},
    "fr": {"one", "other"},
    "es": {"one", "other"},
    "pt": {"one", "other"},
    "ar": {"zero", "one", "two", "few", "many", "other"},
    "ja": {"other"},
    "zh": {"other"},
}
_PLACE = re.compile(r"\{(\w+)\}")


def form(language: str, key: str) -> tuple[str, str | None]:
    """A key of a catalogue as the key of a text and the name of a plural form."""
    stem, _, name = key.rpartition("_")
    return (stem, name) if stem in TEXTS and TEXTS[stem].one and name in FORMS[language] | {"many"} else (key, None)


def test_the_page_the_catalogues_and_this_test_agree_on_the_languages():
    offered = re.search(r'data-languages="([\w ]+)"', (FOLDER / "index.html").read_text("utf-8"))[1].split()
    assert set(offered) == {"en", *CATALOGUES} == set(LANGUAGES)
    named = re.search(r"LANGUAGES = \{(.*?)\}", (FOLDER / "i18n.js").read_text("utf-8"), re.DOTALL)[1]
    assert set(offered) <= set(re.findall(r"(\w+): ", named)) <= {"en", *FORMS}


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_catalogue_has_every_text_and_no_other(language):
    wanted = {
        f"{key}_{name}" if name else key for key, text in TEXTS.items() for name in (FORMS[language] if text.one else [None])
    }
    there = {key for key in CATALOGUES[language] if form(language, key)[1] != "many" or "many" in FORMS[language]}
    assert there - wanted == set(), "no longer on the page"
    assert wanted - there == set(), "not translated"
    assert all(said.strip() for said in CATALOGUES[language].values())


@pytest.mark.parametrize("language", CATALOGUES)
def test_a_translation_has_the_places_of_its_text(language):
    for key, said in CATALOGUES[language].items():
        stem, name = form(language, key)
        places, wanted = set(_PLACE.findall(said)), set(_PLACE.findall(stem))
        # "a photo", "two photos": forms of one number need not say it
        assert places == wanted or (name in ("zero", "one", "two") and places == wanted - {"count"}), (language, key)


#: Codes of errors that the page does not meet: those of commands, and classes of which only others are made.
NOT_ON_THE_PAGE = {
    *("backup_broken", "engine_mismatch", "exif_tool_missing", "not_empty", "settings_error"),
    *("access_error", "bad_request", "error", "face_error", "fetch_error", "image_error", "model_error", "not_found"),
}


def test_every_refusal_has_a_sentence_of_the_page_by_its_code():
    def below(kind: type) -> set[str]:
        return {kind.code}.union(*map(below, kind.__subclasses__()))

    refusals = MODULES["refusals.js"]
    table = refusals[refusals.index("REFUSALS = {") : refusals.index("\n};")]
    there = set(re.findall(r"^  (\w+): t\(", table, re.MULTILINE))
    instead = set(re.findall(r"^  (\w+): \(\{", MODULES["api.js"], re.MULTILINE))
    codes = below(errors.RecognizerError) | {"cameras_gone", "internal", "no_usable_photo", "zones_gone", *SENTENCES}
    assert codes - there - instead - {"invalid_parameter"} == NOT_ON_THE_PAGE
    assert len(re.findall(r"^  \w+: t\(", table, re.MULTILINE)) == len(there)  # none is there twice
    words = re.search(r"REMARKS = \{(.*?)\};", MODULES["words.js"], re.DOTALL)[1]
    assert set(SENTENCES) == set(re.findall(r"(\w+): t\(", words))


#: Where the reasons of cameras and visits are written: functions that return one, and names that hold one.
_GIVE_REASONS = {"_reason", "_why", "blank", "refusal"}
_HOLD_REASONS = {"_NO_VIDEO", "_REASONS", "OUTSIDE", "problem", "reason"}
_TAKE_REASONS = {"FetchFailed", "FetchTimeout", "SourceEnded", "SourceLost", "_say", "end"}


def literals(node: ast.AST) -> set[str]:
    """The texts of several words below a node, each value in them as {}."""
    found = {
        "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in each.values)
        for each in ast.walk(node)
        if isinstance(each, ast.JoinedStr)
    }
    inside = {part for each in ast.walk(node) if isinstance(each, ast.JoinedStr) for part in ast.walk(each)}
    found |= {
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and each not in inside and isinstance(each.value, str)
    }
    return {text for text in found if " " in text.strip("; {}")}


def reasons_of(code: str) -> set[str]:
    """The reasons that a module of the server gives for a camera's state or the end of a visit, each value as {}."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.FunctionDef(name=name) if name in _GIVE_REASONS:
                found |= set().union(*(literals(each) for each in ast.walk(node) if isinstance(each, ast.Return)))
            case ast.FunctionDef(args=ast.arguments(defaults=[ast.Constant(value=str(value)), *_])) if " " in value:
                found.add(value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in _HOLD_REASONS:
                found |= literals(value)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _TAKE_REASONS:
                found |= set().union(*map(literals, node.args))
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                found |= {each for key, value in pairs if getattr(key, "value", None) == "reason" for each in literals(value)}
    return found


def test_every_reason_of_a_camera_and_of_a_visit_is_translated():
    package = Path(recognizer.__file__).parent
    others = ("events/appearances.py", "events/event_hub.py", "fetching/addresses.py", "fetching/fetcher.py")
    files = [*package.glob("video/sources/*.py"), *map(package.joinpath, others)]
    said = set().union(*(reasons_of(file.read_text("utf-8")) for file in files))
    there = {_PLACE.sub("{}", text.key) for text in texts(MODULES["reasons.js"])}
    assert len(said) > 50 and said - there == set(), "not on the page"
    assert there - said == set(), "no longer said"


def test_every_text_can_be_read_by_this_test():
    for name, code in MODULES.items():
        assert calls_without_literal(code) == [], name


def test_every_text_that_people_read_is_translatable():
    for name, code in MODULES.items():
        assert untranslated(code) == [], name


def test_forms_of_one_text_agree():
    for text in TEXTS.values():
        if text.one is not None:
            assert set(_PLACE.findall(text.one)) | {"count"} == text.places | {"count"}, text.key


def test_what_is_not_translatable_would_be_found():
    code = """
    el("h1", null, "People"); button("Delete", () => {}); ({ label: "Close" }); `${n} files cannot be used`;
    t("Fine {name}", { name }); n(count, "{count} photo", "{count} photos"); el("div", { class: "card stack" });
    mixed("Add {what}.", { what }); fill(this.count, n(found.length, "{count} dog", "{count} dogs")); t(word);
    say("No name at all");
    """
    assert set(untranslated(code)) == {"People", "Delete", "Close", "{} files cannot be used", "No name at all"}
    assert texts(code) == [
        Text("Fine {name}"),
        Text("Add {what}."),
        Text("{count} photos", "{count} photo"),
        Text("{count} dogs", "{count} dog"),
    ]
    assert calls_without_literal(code) == [code[code.index("t(word") :][:60]]


def test_a_comment_hides_no_text(tmp_path):
    lines = ['api(path, "image/*");', '/** Says t("nothing"). */', 't("One"); // t("two")', 'api(path, "image/*"); t("Three");']
    (tmp_path / "view.js").write_text("\n".join(lines), "utf-8")
    assert [text.key for text in texts(modules(tmp_path)["view.js"])] == ["One", "Three"]
