"""A folder from which Docker builds an image of `ppdet serve` with a model in it.

    Dockerfile.cpu   Dockerfile.gpu   requirements-cpu.txt   requirements-gpu.txt
    serve.py   ppdet_lite/   model/

The image holds the package, the model and what they need, in the versions of this machine, so that
nothing is loaded from elsewhere when it runs. Packages for GPUs may be released later than those
for CPUs, so the newest of them is taken that is not newer.
"""

import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple, Union

import ppdet_lite
from ppdet_lite.core.errors import UserError, install_extra
from ppdet_lite.export.folder import check_apart, writing
from ppdet_lite.export.formats.format import exported_files
from ppdet_lite.runtime.contract import (
    FINAL_STAGES,
    GRAPH_FILES,
    InferConfig,
    ModelFolder,
)
from ppdet_lite.utils.logger import get_logger

PACKAGES = ("numpy", "opencv-python-headless", "pyyaml", "tqdm")
SERVING = ("fastapi", "prometheus-client", "python-multipart", "uvicorn")
"""Needed in every image, beside an engine."""


class Engine(NamedTuple):
    """An engine in an image.

    Attributes:
        name: of the option `engine`.
        package: whose version here is taken.
        cpu, gpu: requirements, with {version}.
        has_index: the packages for GPUs are in an index of their own.
    """

    name: str
    package: str
    cpu: str
    gpu: str
    has_index: bool = False


ENGINES = (
    Engine(
        "onnxruntime",
        "onnxruntime",
        "onnxruntime=={version}",
        "onnxruntime-gpu[cuda,cudnn]<={version}",
    ),
    Engine(
        "paddle", "paddlepaddle", "paddlepaddle=={version}", "paddlepaddle-gpu<={version}", True
    ),
)
"""The first whose files an export holds is taken."""

OWN_NAMES = (
    *("Dockerfile.cpu", "Dockerfile.gpu", "requirements-cpu.txt", "requirements-gpu.txt"),
    *("serve.py", "ppdet_lite", "model"),
)
"""All that is written into the folder."""

SERVE = '''"""Serves the model beside this file; options are those of ppdet serve."""

import sys

from ppdet_lite.cli.tool import run_tool
from ppdet_lite.commands.serve import build_parser, main

if __name__ == "__main__":
    sys.argv[0] = "ppdet serve"
    run_tool(main, build_parser())
'''

MARK = "# Written by the export of "
"""The first line of a Dockerfile from here begins so."""

DOCKERFILE = """{mark}{model}: ppdet serve {where}.
#   docker build -f Dockerfile.{kind} {build}-t {tag} .
#   docker run --rm {run}-p 127.0.0.1:8000:8000 {tag}
# Options of ppdet serve go behind the name of the image; a token into PPDET_SERVE_TOKEN (-e).
FROM python:{python}-slim

RUN apt-get update \\
 && apt-get install -y --no-install-recommends libgomp1 \\
 && rm -rf /var/lib/apt/lists/* \\
 && useradd --create-home --uid 10001 ppdet

{arguments}COPY requirements-{kind}.txt /tmp/requirements.txt
RUN pip install --no-cache-dir {index}-r /tmp/requirements.txt

WORKDIR /srv/ppdet
COPY serve.py ./
COPY ppdet_lite ppdet_lite
COPY model model

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1{environment}
USER ppdet
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=120s CMD ["python", "-c", \\
  "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["python", "serve.py", "--model_dir", "model", "--host", "0.0.0.0", \\
  {options}]
"""

_INDEX = """# The address of Paddle's own packages for your CUDA: its page of installation names it.
ARG PADDLE_INDEX
"""


def write_context(export: Union[str, Path], target: Union[str, Path]) -> Path:
    """Writes the folder `target`; what an earlier export wrote there goes.

    Raises:
        UserError: the export cannot be served, a package is missing here, or the folder cannot be
            written, holds other files, or is, holds or lies in the export.
    """
    export, target = Path(export), Path(target)
    engine = _engine_of(export)
    config = ModelFolder(export, engine.name).config
    if config.stage not in FINAL_STAGES:
        allowed = " or ".join(FINAL_STAGES)
        raise UserError(f"{export}: found the stage {config.stage}, allowed to serve: {allowed}")
    check_apart("dockerfile", target, export)
    with writing(target):
        _check_is_ours(target)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for kind in ("cpu", "gpu"):
            (target / f"requirements-{kind}.txt").write_text(requirements(engine, kind))
            text = dockerfile(engine, kind, config, export)
            (target / f"Dockerfile.{kind}").write_text(text, encoding="utf-8")
        (target / "serve.py").write_text(SERVE, encoding="utf-8")
        package = Path(ppdet_lite.__file__).parent
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(package, target / "ppdet_lite", ignore=ignored)
        (target / "model").mkdir()
        for name in sorted(exported_files()):
            if (export / name).is_file():
                shutil.copyfile(export / name, target / "model" / name)
    get_logger().info("for Docker: %s: %s", target, ", ".join(OWN_NAMES))
    return target


def _check_is_ours(target: Path) -> None:
    """Refuses a folder that is there, is not empty and was not written by `write_context`."""
    if not target.exists():
        return
    found = {path.name for path in target.iterdir()}
    other = sorted(found - {*OWN_NAMES})
    model = target / "model"
    if model.is_dir():
        files = exported_files()
        other += sorted(f"model/{one.name}" for one in model.iterdir() if one.name not in files)
    docker = target / "Dockerfile.cpu"
    if found and not other:
        is_marked = docker.is_file() and docker.read_bytes().startswith(MARK.encode())
        other = [] if is_marked else sorted(found)
    if other:
        raise UserError(
            f"`dockerfile` {target}: found {other[0]} in it, allowed: a new or empty folder, or "
            "one of an earlier `dockerfile` without other files"
        )


def _engine_of(export: Path) -> Engine:
    for engine in ENGINES:
        if any((export / name).is_file() for name in GRAPH_FILES[engine.name]):
            return engine
    raise UserError(f"{export}: no network for {' or '.join(one.name for one in ENGINES)} in it")


def requirements(engine: Engine, kind: str) -> str:
    """The lines of requirements-<kind>.txt."""
    lines = [f"{name}=={_version(name)}" for name in (*PACKAGES, *SERVING)]
    lines.append(getattr(engine, kind).format(version=_version(engine.package)))
    return "".join(f"{line}\n" for line in sorted(lines))


def _version(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError as error:
        if package == "paddlepaddle":
            return _version("paddlepaddle-gpu")
        extra = "serve" if package in SERVING else "onnx"
        raise UserError(
            f"`dockerfile` takes the versions of this machine, and {package} is not installed: "
            + install_extra(extra)
        ) from error


def dockerfile(engine: Engine, kind: str, config: InferConfig, export: Path) -> str:
    """The text of Dockerfile.<kind>."""
    is_gpu = kind == "gpu"
    model = config.model_name or export.resolve().name
    options = ["--engine", engine.name, *(["--device", "GPU"] if is_gpu else [])]
    has_index = is_gpu and engine.has_index
    environment = " \\\n    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility"
    return DOCKERFILE.format(
        mark=MARK,
        model=model,
        where=f"with {engine.name} on {'GPUs of NVIDIA' if is_gpu else 'CPUs'}",
        kind=kind,
        tag=f"ppdet-serve:{kind}",
        build="--build-arg PADDLE_INDEX=ADDRESS " if has_index else "",
        run="--gpus all " if is_gpu else "",
        python=".".join(map(str, sys.version_info[:2])),
        arguments=_INDEX if has_index else "",
        index='--extra-index-url "$PADDLE_INDEX" ' if has_index else "",
        environment=environment if is_gpu else "",
        options=", ".join(f'"{option}"' for option in options),
    )
