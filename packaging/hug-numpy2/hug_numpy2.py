"""Lets hug 2.6 be imported beside NumPy 2, and in half the time.

When `hug` is first imported, NumPy is given the alias ``unicode_`` that hug reads and NumPy 2 no longer has. While it is
imported, light stand-ins take the place of modules of which hug uses one or two functions, or none in most programs:
setuptools' ``distutils``, ``requests``, ``cgi`` and ``wsgiref.simple_server`` are half of what `import hug` costs. The
stand-ins are taken away as soon as hug is there, so nobody else gets them, and a function of theirs calls the real one.

This module is imported by every interpreter start of the environment, so it imports nothing that is not there already.
"""

import sys

#: Module -> the functions and classes that hug and its falcon read from it while they are imported.
_LATE = {
    "requests": (),
    "cgi": ("parse_header", "parse_multipart"),
    "wsgiref.simple_server": ("make_server",),
}


class _BeforeHug:
    """An import hook that waits for `hug`, prepares its import and leaves."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "hug":
            return None
        sys.meta_path.remove(cls)
        _give_alias()
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader:
    """hug's own loader, with the stand-ins in place while it works."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._loader
        put = _stand_ins()
        sys.modules.update(put)
        try:
            self._loader.exec_module(module)
        finally:
            for name, each in put.items():
                if sys.modules.get(name) is each:
                    del sys.modules[name]


def _give_alias():
    try:
        import numpy
    except ImportError:  # hug does without NumPy too
        return
    if not hasattr(numpy, "unicode_"):
        numpy.unicode_ = numpy.str_


def _stand_ins():
    """Modules by name; none for what is imported already."""
    made = {}
    if not any(name.partition(".")[0] == "distutils" for name in sys.modules):
        package, util, version = (type(sys)(name) for name in ("distutils", "distutils.util", "distutils.version"))
        package.__path__ = []
        package.util, package.version = util, version
        util.strtobool, version.LooseVersion = strtobool, LooseVersion
        made.update({each.__name__: each for each in (package, util, version)})
    for name, functions in _LATE.items():
        if name not in sys.modules:
            made[name] = _late_module(name, functions)
    return made


def strtobool(text):
    """1 or 0 for what people write for true and false, as distutils understood it; ValueError for anything else."""
    text = text.lower()
    if text in ("y", "yes", "t", "true", "on", "1"):
        return 1
    if text in ("n", "no", "f", "false", "off", "0"):
        return 0
    raise ValueError(f"expected a word for true or false, got {text!r}")


class LooseVersion:
    """A version as a list of its numbers and words, which is all that hug reads of one."""

    def __init__(self, text):
        parts, last = [], ""
        for letter in text:
            kind = "digit" if letter.isdigit() else "word" if letter.isalpha() else ""
            if kind and kind == last:
                parts[-1] += letter
            elif kind:
                parts.append(letter)
            last = kind
        self.version = [int(part) if part.isdigit() else part for part in parts]


def _late_module(name, functions):
    """A module of which these functions, and every other attribute that is asked for, come from the real one when used."""
    module = type(sys)(name)

    def real(attribute):
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        import importlib

        return getattr(importlib.import_module(name), attribute)

    def late(attribute):
        def call(*values, **named):
            function = real(attribute)
            module.__dict__[attribute] = function
            return function(*values, **named)

        return call

    module.__getattr__ = real
    for attribute in functions:
        setattr(module, attribute, late(attribute))
    return module


if "hug" not in sys.modules:
    sys.meta_path.insert(0, _BeforeHug)
