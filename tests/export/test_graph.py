"""Networks become graphs of Paddle: our own as they are, those of users after a translation."""

import json

import paddle
import pytest
from paddle import nn

from ppdet_lite.export.graph import DetectorUpTo, graph_inputs, save_graph, save_paddle_graph
from ppdet_lite.export.options import ExportOptions

pytestmark = pytest.mark.skipif(paddle.__version__[0] < "3", reason="reads model.json of Paddle 3")


def operators(folder):
    """Kind and result types of every operator of a graph, in order."""

    def below(regions):
        for region in regions:
            for block in region["blocks"]:
                for op in block["ops"]:
                    outputs = op.get("O")
                    results = outputs if isinstance(outputs, list) else [outputs]
                    yield op["#"], [result and result.get("TT") for result in results]
                    yield from below(op.get("regions", []))

    return list(below(json.loads((folder / "model.json").read_text())["program"]["regions"]))


def test_our_own_code_gives_the_same_graph_without_translation(trained, tmp_path):
    options = ExportOptions(input_size=64, stage="nms")
    for name in ("translated", "as_written"):
        (tmp_path / name).mkdir()
    translated = DetectorUpTo(trained, "nms", is_translated=True)
    save_graph(translated, tmp_path / "translated", graph_inputs(trained, options))
    save_paddle_graph(trained, tmp_path / "as_written", options)
    assert len(operators(tmp_path / "as_written")) > 400
    assert operators(tmp_path / "as_written") == operators(tmp_path / "translated")
    one, other = ((tmp_path / name / "model.pdiparams") for name in ("translated", "as_written"))
    assert one.read_bytes() == other.read_bytes()


class DecidesByValue(nn.Layer):
    inference_inputs = ("image",)

    def raw_outputs(self, image):
        if image.mean() > 0:
            image = image * 2
        return [image]


def test_code_of_users_may_decide_by_the_values_of_tensors(tmp_path):
    save_paddle_graph(DecidesByValue(), tmp_path, ExportOptions(stage="raw", input_size=32))
    assert "1.if" in [kind for kind, _ in operators(tmp_path)]
