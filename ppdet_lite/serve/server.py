"""Starting and stopping of a server, and the address that it listens on."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from dataclasses import replace
from typing import Any, Callable, Iterator, Optional

import uvicorn

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.serve.app import create_app
from ppdet_lite.serve.metrics import shared_by_processes
from ppdet_lite.serve.service import Service
from ppdet_lite.serve.settings import ServeSettings
from ppdet_lite.serve.workers import Workers

KEEP_ALIVE_SECONDS = 30
BACKLOG = 2048


def serve(settings: ServeSettings, open_detector: Callable[[], Detector]) -> None:
    """Serves until SIGTERM or Ctrl-C; what was taken by then is finished first.

    Args:
        open_detector: is called in every process, so it has to be one that can be pickled where
            there are several.

    Raises:
        UserError: the address cannot be used, or the model cannot be loaded.
        KeyboardInterrupt: after Ctrl-C.
    """
    if settings.workers > 1:
        open_detector().close()  # its errors, once and here
    with contextlib.closing(listen(settings)) as listener:
        settings = replace(settings, port=listener.getsockname()[1])
        print(f"listening on {address(settings)}", file=sys.stderr, flush=True)
        if settings.workers == 1:
            serve_in_process(settings, open_detector, listener)
            return
        arguments = (settings, open_detector, listener)
        with shared_by_processes():
            Workers(settings.workers, serve_in_process, arguments, _grace_s(settings)).run()


def serve_in_process(
    settings: ServeSettings, open_detector: Callable[[], Detector], listener: socket.socket
) -> None:
    """Serves in this process; see `serve`."""
    service: Optional[Service] = None

    def make_app() -> Any:
        nonlocal service
        service = Service(settings, open_detector, _stop_this_process)
        return create_app(service)

    config = uvicorn.Config(
        make_app,
        factory=True,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(_grace_s(settings)),
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)
    with _terminating_quietly():
        uvicorn.Server(config).run(sockets=[listener])
    if service is not None and service.error is not None:
        raise service.error


def _grace_s(settings: ServeSettings) -> float:
    """Seconds for the body and the answer of a request that was begun before the stop."""
    return 2 * settings.max_seconds + 1


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """False for what a second Ctrl-C cuts off, which is no defect."""
    error = record.exc_info[1] if record.exc_info else None
    is_one = isinstance(error, asyncio.CancelledError)
    return not is_one and not record.getMessage().rstrip().endswith("CancelledError")


def _stop_this_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def listen(settings: ServeSettings) -> socket.socket:
    """A socket that listens; a UserError where the address cannot be used."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)  # who comes early waits, rather than being turned away
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise UserError(f"`host` {settings.host}, `port` {settings.port}: {reason}") from error
    return listener


def address(settings: ServeSettings) -> str:
    """The URL of the page."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


@contextlib.contextmanager
def _terminating_quietly() -> Iterator[None]:
    """Context in which SIGTERM, which uvicorn raises again at its end, ends nothing: a server that
    was stopped exits with 0."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
