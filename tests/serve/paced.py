"""A server whose network takes the same time for every run, however busy the machine is."""

import argparse
import functools
import time
from unittest import mock

import numpy as np

from ppdet_lite.cli.tool import run_tool
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.engines.engine import Engine
from ppdet_lite.runtime.engines.open_engine import ENGINE_CLASSES

RUN_SECONDS = 0.1
FOUND = 3


class PacedEngine(Engine):
    """Waits for RUN_SECONDS, and finds objects in every image whose boxes and scores follow from
    its pixels."""

    def __init__(self, files, options):
        super().__init__()
        self.graph, self.kernels, self.device, self.runs_on = files.graph, "none", "CPU", "none"
        self.input_names = ["image"]

    def execute(self):
        time.sleep(RUN_SECONDS)
        images = self._inputs["image"]
        rows = [_rows(image) for image in images]
        self._outputs = [np.concatenate(rows), np.full(len(images), FOUND, np.int32)]


def _rows(image):
    rows = np.zeros((FOUND, 6), np.float32)
    rows[:, 1] = 0.9, 0.8, 0.7
    rows[:, 2:] = np.abs(image[:, :4, 7])
    return rows


def open_paced(folder):
    """A detector of an export in which only the network is another one."""
    with mock.patch.dict(ENGINE_CLASSES, paddle=PacedEngine):
        return Detector(folder)


def main():
    """Serves an export on a free port with a number of processes: the arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("workers", type=int)
    run_tool(serve_paced, parser)


def serve_paced(args):
    from ppdet_lite.serve.server import serve
    from ppdet_lite.serve.settings import ServeSettings

    settings = ServeSettings(port=0, workers=args.workers, max_batch=8, max_wait_ms=50)
    serve(settings, functools.partial(open_paced, args.folder))
