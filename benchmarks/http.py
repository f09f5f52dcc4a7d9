"""python benchmarks/http.py: see http_load.py, which does the work.

A script of this name hides Python's own package `http` from every script beside it. So when it is imported under that
name, it becomes that package.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

if __name__ == "http":
    _package = Path(sysconfig.get_path("stdlib")) / "http"
    __path__ = [str(_package)]
    __file__ = str(_package / "__init__.py")
    exec(compile(Path(__file__).read_text(), __file__, "exec"))
elif __name__ == "__main__":
    import http_load

    http_load.main()
