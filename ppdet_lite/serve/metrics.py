"""Figures of a server for Prometheus, added up over its processes."""

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of prometheus_client: the folder through which processes share figures."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters and histograms of one process.

    Attributes:
        requests: by path and status.
        images: that got an answer.
        seconds: of whole requests with images.
        stages: seconds per image of the stages `decode`, `queue` and `network`.
        batches: images per run of the network.
        queue: images that were taken and not yet answered.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        text = "Requests by path and status"
        self.requests = Counter("ppdet_requests", text, ["path", "status"], registry=registry)
        self.images = Counter("ppdet_images", "Images with an answer", registry=registry)
        self.seconds = Histogram(
            "ppdet_request_seconds",
            "Seconds of requests with images",
            registry=registry,
            buckets=_SECONDS,
        )
        self.stages = Histogram(
            "ppdet_stage_seconds",
            "Seconds of an image in a stage",
            ["stage"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.batches = Histogram(
            "ppdet_batch_images",
            "Images per run of the network",
            registry=registry,
            buckets=_IMAGES,
        )
        self.queue = Gauge(
            "ppdet_queue_images",
            "Images that wait or are worked on",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def text(self) -> bytes:
        """The figures in the format of Prometheus, of all processes of the server."""
        folder = os.environ.get(SHARED_FOLDER)
        if folder is None:
            return bytes(generate_latest(self._registry))
        _forget_ended(Path(folder))
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=folder)
        return bytes(generate_latest(registry))


@contextlib.contextmanager
def shared_by_processes() -> Iterator[None]:
    """Context in which processes that are started share their figures. It has to begin before
    prometheus_client is imported in them."""
    with tempfile.TemporaryDirectory(prefix="ppdet_metrics_") as folder:
        os.environ[SHARED_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[SHARED_FOLDER]


def _forget_ended(folder: Path) -> None:
    """Leaves processes that are gone out of gauges: a killed one cannot do it itself."""
    for path in folder.glob("gauge_live*.db"):
        found = re.search(r"_(\d+)\.db$", path.name)
        if found and not Path(f"/proc/{found[1]}").exists() and Path("/proc/self").exists():
            path.unlink(missing_ok=True)
