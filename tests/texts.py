"""The texts of the page, read from its modules: which are translated, and which people read without a translation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from recognizer.http.pages import FOLDER

_LITERAL = r'"((?:[^"\\\n]|\\.)*)"'
#: Plain text in one form, and text with a count in two.
_ONE = re.compile(rf"(?<![\w.])(?:t|mixed|phrase)\(\s*{_LITERAL}(?:, \{{ context: \"(\w+)\")?")
_COUNTED = re.compile(rf"(?<![\w.])n\(\s*[^\"`;]+?,\s*{_LITERAL},\s*{_LITERAL}")
_CALLS = re.compile(r"(?<![\w.])(?:t|mixed|n|phrase)\((?!\))")
_COMMENT = re.compile(r"^\s*/\*.*?\*/|(?<![\w:\"'`/])//[^\n]*", re.DOTALL | re.MULTILINE)
_PLACE = re.compile(r"\{(\w+)\}")
#: Modules without texts of their own: what draws icons and what defines the language.
_SILENT = {"i18n.js", "icons.js", "docs.js", "theme.js"}
#: Commands, addresses and states are the same in every language. A report for programs is English.
_SAME = re.compile(
    r"^(python -m )?recognizer |^python -m|^https?:|^rk_|^(over|crowded|left-out|choosing|chosen|single)$|^not sent yet$"
)
#: A literal of several words, which people would read.
_PROSE = re.compile(r"[A-Z][\w’']*,? +[\w{$(“]|^ ?[a-z]+ [a-z]+ [a-z]+|^[a-z]+ [a-z]+(ed|s)$|\{\} [a-z]{2}|, \w+ ")
#: Where a literal of one word is read too.
_SHOWN = re.compile(
    rf'(?:button|toggle|toast|announce|confirm|dialog)\({_LITERAL}|(?:label|title|placeholder|alt|"aria-label"): {_LITERAL}'
    rf'|\bel\("\w+", (?:null|\{{[^{{}}]*\}}), {_LITERAL}'
)


@dataclass(frozen=True)
class Text:
    """A text with its places in braces; ``one`` is the form for 1 where it has a count."""

    key: str
    one: str | None = None

    @property
    def places(self) -> set[str]:
        return set(_PLACE.findall(self.key))


def modules(folder: Path = FOLDER) -> dict[str, str]:
    """Module -> its code, without comments."""
    return {
        path.name: _COMMENT.sub("", path.read_text("utf-8")) for path in sorted(folder.glob("*.js")) if path.name not in _SILENT
    }


def texts(code: str) -> list[Text]:
    """The translated texts of a module."""
    found = [Text(json.loads(f'"{said}"') + (f"_{context}" if context else "")) for said, context in _ONE.findall(code)]
    return found + [Text(json.loads(f'"{many}"'), json.loads(f'"{one}"')) for one, many in _COUNTED.findall(code)]


def calls_without_literal(code: str) -> list[str]:
    """Calls whose text is not a literal, so that nobody can know what has to be translated."""
    read = {match.start() for pattern in (_ONE, _COUNTED) for match in pattern.finditer(code)}
    return [code[at.start() : at.start() + 60] for at in _CALLS.finditer(code) if at.start() not in read]


def untranslated(code: str) -> list[str]:
    """Literals that people read and that are not translated."""
    rest = _COUNTED.sub("n(", _ONE.sub("t(", code))
    shown = [said for match in _SHOWN.finditer(rest) for said in match.groups() if said and re.search(r"[a-z]{2}", said)]
    literals = re.findall(_LITERAL, re.sub(r"class: (?:\"[^\"]*\"|`[^`]*`)", "", rest))
    literals += [re.sub(r"\$\{[^{}]*\}", "{}", each) for each in re.findall(r"`([^`]*)`", rest)]
    return [said for said in dict.fromkeys([*shown, *filter(_PROSE.search, literals)]) if not _SAME.search(said)]


def catalogues(folder: Path = FOLDER) -> dict[str, dict[str, str]]:
    """Language -> its catalogue."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
