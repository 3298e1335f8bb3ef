"""Serves an exported model over HTTP: detections as JSON or drawn, a page, metrics."""

import argparse
import functools
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Optional

from ppdet_lite.cli.deploy import COUNT, add_engines, check_model_folder, number, open_detector
from ppdet_lite.core.errors import UserError, require
from ppdet_lite.serve.settings import ServeSettings

TOKEN_VARIABLE = "PPDET_SERVE_TOKEN"

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
"""The extra `serve` of pyproject.toml."""

EXAMPLES = f"""examples:
  ppdet serve --model_dir output_inference/ppyolov2_r50vd_dcn_365e_coco
  ... --engine openvino --max_batch 8 --max_wait_ms 10    more images per run of the network
  ... --device GPU --run_mode trt_fp16 --workers 2        two processes, each with the model
  ... --host 0.0.0.0 --token_file token.txt               for others, behind a proxy with TLS

then in a browser: http://127.0.0.1:8000, documentation of the interface at /docs, or
  curl --data-binary @street.jpg http://127.0.0.1:8000/predict
  curl -F a=@one.jpg -F b=@two.jpg "http://127.0.0.1:8000/predict?threshold=0.3"
  curl -H "Accept: image/jpeg" --data-binary @street.jpg http://127.0.0.1:8000/predict > drawn.jpg

The bearer token stands in the file, or in the environment variable {TOKEN_VARIABLE}. SIGTERM and
Ctrl-C stop it after what was taken is answered.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    text = "written by ppdet export"
    parser.add_argument("--model_dir", required=True, metavar="FOLDER", help=text)
    default = {field.name: field.default for field in fields(ServeSettings)}

    def option(add: Any, name: str, text: str, **kind: Any) -> None:
        kind = {**COUNT, **kind}
        add(f"--{name}", default=default[name], help=f"{text} (default: {default[name]})", **kind)

    add = parser.add_argument_group("address and processes").add_argument
    text = "address to listen on; 0.0.0.0 is everybody's"
    option(add, "host", text, type=str, metavar="ADDRESS")
    option(add, "port", "0 takes a free one", type=number(0, 65535))
    option(add, "workers", "processes, each with the model")
    text = f"file with a bearer token that requests need (default: {TOKEN_VARIABLE}, or none)"
    add("--token_file", type=Path, metavar="FILE", help=text)

    add = parser.add_argument_group("batches").add_argument
    text = "longest time that an image waits for others to share its run"
    option(add, "max_wait_ms", text, type=float, metavar="MS")
    option(add, "decode_threads", "threads per process that decode, resize and draw")

    add = parser.add_argument_group("limits").add_argument
    option(add, "max_bytes", "of a request")
    option(add, "max_pixels", "of an image")
    option(add, "max_images", "of a request")
    option(add, "max_queue", "images of a process at once; more are answered with 429")
    option(add, "max_queue_bytes", "of all their requests together")
    text = "for a body to arrive, and for its answer"
    option(add, "max_seconds", text, type=float, metavar="S")
    add_engines(parser, "--max_batch", ServeSettings.max_batch)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    for package in PACKAGES:
        require(package, "serving", "serve")
    from ppdet_lite.serve.server import serve

    names = {field.name for field in fields(ServeSettings)} & vars(args).keys()
    values = {name: getattr(args, name) for name in names}
    settings = ServeSettings(**values, max_batch=args.batch_size, token=read_token(args.token_file))
    if settings.token is None and settings.host not in ("127.0.0.1", "::1", "localhost"):
        print(f"note: anybody who reaches {settings.host} may use this server", file=sys.stderr)
    check_model_folder(args)
    serve(settings, functools.partial(open_detector, args, own_process=True))


def read_token(file: Optional[Path]) -> Optional[str]:
    """The token of a file, or else of the environment; None for none."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"`token_file` {file}: cannot be read ({error})") from error
