"""pyproject.toml describes the project; this file puts configs/ into its wheels."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies configs/ to ppdet_lite/configs; an editable install reads them where they are."""

    def run(self):
        super().run()
        if getattr(self, "editable_mode", False):
            return
        target = Path(self.build_lib, "ppdet_lite", "configs")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(Path(__file__).parent / "configs", target)


setup(cmdclass={"build_py": BuildWithConfigs})
