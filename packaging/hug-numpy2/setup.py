"""Puts the .pth file beside the module; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPth(build_py):
    def run(self):
        super().run()
        self.copy_file("hug-numpy2.pth", str(Path(self.build_lib) / "hug-numpy2.pth"))


setup(cmdclass={"build_py": BuildWithPth})
