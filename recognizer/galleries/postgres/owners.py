"""Who has templates in a node's memory: by the number of a subject, and by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: The number of a group, and a name in it.
Owner = tuple[int, str]


class Owners:
    """Group and name of subjects, by their numbers, and the way back. The caller sees to it that one thread changes it.

    While changes are being read, two numbers may have one name for a moment; then the name leads to the later one.

    Parameters
    ----------
    names : mapping, optional
        Number -> group and name.
    """

    def __init__(self, names: Mapping[int, Owner] | None = None):
        self._of = dict(names or {})
        self._numbers = {owner: number for number, owner in self._of.items()}

    def __contains__(self, number: object) -> bool:
        return number in self._of

    def __iter__(self) -> Iterator[int]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def get(self, number: int) -> Owner | None:
        """Group and name of a subject; None if it has none here."""
        return self._of.get(number)

    def number(self, owner: Owner) -> int | None:
        """The number of whoever has a name; None if nobody has it."""
        return self._numbers.get(owner)

    def set(self, number: int, owner: Owner) -> None:
        """Give a subject a name, instead of the one it had."""
        self.pop(number)
        self._of[number] = owner
        self._numbers[owner] = number

    def pop(self, number: int) -> Owner | None:
        """Forget a subject; its group and name, None if it had none."""
        owner = self._of.pop(number, None)
        if owner is not None and self._numbers.get(owner) == number:
            del self._numbers[owner]
        return owner
