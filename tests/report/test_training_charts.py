"""Charts of results.csv."""

import numpy as np
import pytest

from ppdet_lite.report.charts import chart_style
from ppdet_lite.report.training_charts import training_charts

pytest.importorskip("matplotlib", reason="needs the package matplotlib")


@pytest.mark.parametrize("average, is_drawn", [(-1.0, False), (0.0, True), (0.3, True)])
def test_evaluations_without_labels_have_no_chart(average, is_drawn, recwarn):
    names = ("epoch", "iteration", "loss", "learning_rate", "batch_cost", "data_cost")
    columns = {name: np.array([1.0, 2.0]) for name in names}
    columns.update({"bbox/AP": np.full(2, average), "bbox/APs": np.full(2, -1.0)})
    with chart_style():
        charts = [chart.name for chart in training_charts(columns)]
    assert ("average_precision" in charts) == is_drawn
    assert not recwarn.list
