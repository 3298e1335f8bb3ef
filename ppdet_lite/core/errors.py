"""Errors that are meant for the person at the terminal.

The command line tools print a `UserError` without a traceback: its text must therefore name the
file, the key or the image it is about and say what to do. A parameter of a function or class stands
in backquotes: "`batch_size`: found 0, allowed: 1 or more"; the tools print the option that sets it
in its place (`--batch_size`). Every other exception is a defect and keeps its traceback.
"""

from importlib import import_module
from types import ModuleType
from typing import Iterable, Optional, Union


class UserError(Exception):
    """Something the user can put right: a wrong path, a wrong key, unusable data."""

    exit_code = 2
    """How a tool that ends with this error exits."""


class ConfigError(UserError):
    """A configuration that cannot be built.

    Attributes:
        problems: one line per problem found.
    """

    def __init__(self, problems: Union[str, Iterable[str]]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        lines = self.problems
        if len(lines) > 1:
            lines = [f"{len(lines)} problems in the configuration:", *lines]
        super().__init__("\n  - ".join(lines))


class DataError(UserError):
    """Annotations or a data set that cannot be used."""


class ImageError(DataError):
    """An image that cannot be read; the message names the file."""


class CheckpointError(UserError):
    """A weight file that is missing, damaged or does not belong to the model."""


class TrainingError(UserError):
    """A training run that cannot go on: a loss that is not finite, a reader without batches."""


def install_extra(extra: str) -> str:
    """Returns the commands that install an extra of this package, of a wheel and of a clone."""
    return f"pip install 'ppdet_lite[{extra}]' (in a clone pip install -e '.[{extra}]')"


def require(
    module: str,
    needed_for: str,
    extra: Optional[str] = None,
    *,
    advice: str = "",
    error: type[UserError] = UserError,
) -> ModuleType:
    """An optional package (or a module inside it), imported where it is first needed.

    Args:
        needed_for: "reading .safetensors files": what cannot be done without it.
        extra: the extra of this package that installs it.
        advice: what else the user can do: "or set RandomCrop.is_mask_crop: false".

    Raises:
        UserError: it cannot be imported (of the kind `error`); tells how to install it.
    """
    try:
        return import_module(module)
    except ImportError as cause:
        package = module.partition(".")[0]
        commands = [f"pip install {package}"]
        if extra:
            commands.append(install_extra(extra))
        text = f"{needed_for} needs the package {package} ({cause}): {' or '.join(commands)}"
        raise error(f"{text}, {advice}" if advice else text) from cause
