"""The environment of child processes that decode untrusted data."""

from __future__ import annotations

import os
import re

_OWN = "RECOGNIZER_"
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def child_environment(**more: str) -> dict[str, str]:
    """This process's environment, without settings and without variables whose names suggest a secret, plus `more`.

    If a malicious photo takes over a child process, it finds no keys there.
    """
    passed = {name: value for name, value in os.environ.items() if not (name.startswith(_OWN) or _SECRET.search(name))}
    return {**passed, **more}
