"""A detector that threads share gives each of them the boxes of its own image."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ppdet_lite.export.options import ExportOptions
from ppdet_lite.export.run import export_model
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.options import ENGINES


@pytest.fixture(scope="module")
def folder(mild_config, tmp_path_factory):
    for package in ("onnx", "paddle2onnx", "onnxruntime"):
        pytest.importorskip(package)
    options = ExportOptions(("paddle", "onnx"), portable_dcn=True)
    return export_model(mild_config, tmp_path_factory.mktemp("all"), options)


@pytest.fixture(scope="module")
def images():
    """Gray images with a white bar, each of another length."""
    made = np.full((8, 96, 128, 3), 60, np.uint8)
    for number, image in enumerate(made):
        image[8:40, : 14 * (number + 1)] = 250
    return list(made)


@pytest.mark.parametrize("own_process", [False, True])
@pytest.mark.parametrize("engine", [name for name in ENGINES if "tensorrt" not in name])
def test_sixteen_threads(folder, images, engine, own_process):
    pytest.importorskip(engine)
    detector = Detector(folder, engine=engine, own_process=own_process, cpu_threads=1)
    try:
        expected = [detector.predict([image])[0] for image in images]
        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(lambda image: detector.predict([image])[0], images * 8))
    finally:
        detector.close()
    assert len({rows.tobytes() for rows in expected}) == len(images)
    for rows, wanted in zip(found, expected * 8):
        np.testing.assert_array_equal(rows, wanted)
