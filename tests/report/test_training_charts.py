"""The page of a run without an evaluation, and the charts of results.csv."""

import html
import shlex
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.report.charts import chart_style
from ppdet_lite.report.run_page import write_run_page
from ppdet_lite.report.training_charts import training_charts

pytest.importorskip("matplotlib", reason="needs the package matplotlib")


def test_the_page_of_a_run_names_its_folder_whole(tmp_path, monkeypatch):
    pytest.importorskip("jinja2", reason="needs the package jinja2")
    (tmp_path / "my run").mkdir()
    (tmp_path / "my run" / "results.csv").write_text("epoch,iteration\n")
    monkeypatch.chdir(tmp_path)
    page = write_run_page(Path("my run")).read_text(encoding="utf-8")
    command = html.unescape(page.partition("Made again by <code>")[2].partition("</code>")[0])
    assert shlex.split(command) == ["ppdet", "report", str(tmp_path / "my run")]


@pytest.mark.parametrize("average, is_drawn", [(-1.0, False), (0.0, True), (0.3, True)])
def test_evaluations_without_labels_have_no_chart(average, is_drawn, recwarn):
    names = ("epoch", "iteration", "loss", "learning_rate", "batch_cost", "data_cost")
    columns = {name: np.array([1.0, 2.0]) for name in names}
    columns.update({"bbox/AP": np.full(2, average), "bbox/APs": np.full(2, -1.0)})
    with chart_style():
        charts = [chart.name for chart in training_charts(columns)]
    assert ("average_precision" in charts) == is_drawn
    assert not recwarn.list
