"""Training: the run, its loop, its state and its hooks."""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """This room has the name of the function `ppdet_lite.train`, and takes calls for it: once it is
    imported, it stands in the function's place."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return importlib.import_module("ppdet_lite.api.training").train(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
