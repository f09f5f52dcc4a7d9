"""What processes of ours that read other people's data are started with."""

from __future__ import annotations

import os
import re

_OWN = "RECOGNIZER_"
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without the settings and without whatever is called like a secret, and `more`.

    A child that is made to run somebody's code by a photo finds no key there.
    """
    kept = {name: value for name, value in os.environ.items() if not (name.startswith(_OWN) or _SECRET.search(name))}
    return {**kept, **more}
