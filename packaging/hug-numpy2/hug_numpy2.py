"""When `hug` is first imported, give NumPy the alias ``unicode_`` that hug 2.6 reads and NumPy 2 no longer has.

This module is imported by every interpreter start of the environment, so it imports nothing that is not there already.
"""

import sys


class _BeforeHug:
    """An import hook that waits for `hug`, does its one deed and leaves; it finds no module itself."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "hug":
            sys.meta_path.remove(cls)
            _give_alias()
        return None


def _give_alias():
    try:
        import numpy
    except ImportError:  # hug does without NumPy too
        return
    if not hasattr(numpy, "unicode_"):
        numpy.unicode_ = numpy.str_


if "hug" not in sys.modules:
    sys.meta_path.insert(0, _BeforeHug)
