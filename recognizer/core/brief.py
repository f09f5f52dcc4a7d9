"""Values from outside, as a message repeats them: never longer than a line."""

from __future__ import annotations

#: Longest repeated value, in characters.
VALUE = 80
#: Longest message of an error reply, in characters.
MESSAGE = 500


def brief(value: object, most: int = VALUE) -> str:
    """A value as one short piece of text. Lists and objects are counted, not written out."""
    if isinstance(value, dict):
        return f"an object with {len(value)} fields"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)} values"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return cut(value if isinstance(value, str) else repr(value), most)


def cut(text: str, most: int = VALUE) -> str:
    """Text without its end, where it is longer than `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."
