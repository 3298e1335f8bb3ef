"""The table and the page that a run leaves."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from ppdet_lite.core.errors import TrainingError
from ppdet_lite.report import run_page
from ppdet_lite.report.results_csv import read_results_csv
from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.hooks.report import ReportHook
from ppdet_lite.train.hooks.results import ResultsHook
from ppdet_lite.train.run import run_training


def test_rows_are_means_over_the_steps_since_the_last(toys, tmp_path):
    losses = []

    class Collect(ResultsHook):
        def after_step(self, run, record):
            losses.append(record.mean_losses()["loss"])
            super().after_step(run, record)

    toys.trainer([Collect(str(tmp_path), 4)], epochs=2, reader=toys.reader(6)).run()
    columns = read_results_csv(tmp_path / "results.csv")
    assert columns["iteration"].tolist() == [4, 6, 10, 12]
    assert columns["epoch"].tolist() == [0, 0, 1, 1]
    means = [np.mean(losses[a:b]) for a, b in ((0, 4), (4, 6), (6, 10), (10, 12))]
    assert columns["loss"] == pytest.approx(means, rel=1e-5)
    assert (columns["data_cost"] <= columns["batch_cost"]).all()


def test_a_full_disk_is_told_once_and_the_run_goes_on(toys, tmp_path, caplog):
    (tmp_path / "results.csv").mkdir()
    trainer = toys.trainer([ResultsHook(str(tmp_path), 2)], epochs=1)
    trainer.run()
    assert trainer.state.epoch == 1
    (line,) = [r.getMessage() for r in caplog.records if "results.csv" in r.getMessage()]
    assert "goes on" in line


def test_a_page_that_fails_loses_no_training(toys, tmp_path, caplog, monkeypatch):
    pytest.importorskip("jinja2")
    hooks = [ReportHook(str(tmp_path), {})]  # no table to draw
    toys.trainer(hooks, epochs=1).run()
    assert "found no results.csv" in caplog.text


def test_missing_packages_are_told_in_a_line(toys, tmp_path, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    trainer = toys.trainer([ReportHook(str(tmp_path), {})], epochs=1)
    trainer.run()
    assert trainer.state.epoch == 1 and not (tmp_path / "index.html").exists()
    (line,) = [r.getMessage() for r in caplog.records if "jinja2" in r.getMessage()]
    assert "pip install 'ppdet_lite[report]' (in a clone pip install -e '.[report]')" in line


class Fail(Hook):
    """An error at step 3, where nothing good is left to save."""

    def before_update(self, run, record):
        if run.state.iteration == 2:
            raise TrainingError("not finite")


def test_an_error_leaves_the_last_steps_and_a_page(toys, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    hooks = [Fail(), ResultsHook(str(tmp_path), 20), ReportHook(str(tmp_path), {})]
    with pytest.raises(TrainingError, match="not finite"):
        toys.trainer(hooks).run()
    assert read_results_csv(tmp_path / "results.csv")["iteration"].tolist() == [2]
    assert "2 iterations" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_metrics_alone_make_no_row(toys, tmp_path):
    """The row of the last iteration was cut by a kill, and the run is extended."""
    table = tmp_path / "results.csv"
    toys.trainer([ResultsHook(str(tmp_path), 3)], epochs=1).run()
    table.write_bytes(table.read_bytes()[:-5])
    longer = toys.trainer([ResultsHook(str(tmp_path), 3)], epochs=2)
    longer.state.step_in_epoch = longer.state.iteration = 6
    longer.state.last_evaluation = {"epoch": 0, "metrics": {"bbox/AP": 0.5}}
    longer.run()
    assert read_results_csv(table)["iteration"].tolist() == [3, 9, 12]
    assert "bbox/AP" not in table.read_text()


KILL = """
import os, signal
from ppdet_lite.core.workspace import register
from ppdet_lite.train.hooks.base import Hook

@register
class Kill(Hook):
    def after_step(self, run, record):
        if run.state.iteration == 5:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_run_goes_on_without_a_row_twice(config, repo):
    """Killed at iteration 5 of 6, resumed from the checkpoint of iteration 4."""
    (config.path.parent / "kill.py").write_text(KILL)
    overrides = [*config.small, "epoch=3", "log_iter=1"]
    hook = ["custom_modules=[kill.py]", "train_hooks=[Kill: {}]"]
    command = [sys.executable, repo / "tools/train.py", "-c", config.path, "-o", *overrides, *hook]
    done = subprocess.run(list(map(str, command)), capture_output=True)
    table = config.folder / "results.csv"
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert read_results_csv(table)["iteration"].tolist() == [1, 2, 3, 4, 5]
    run_training(config("epoch=3", "log_iter=1"), evaluate=True, resume="auto")
    columns = read_results_csv(table)
    assert columns["iteration"].tolist() == [1, 2, 3, 4, 5, 6]
    assert np.isfinite(columns["bbox/AP"]).tolist() == [False] * 5 + [True]


def test_a_run_leaves_a_page(config):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    run_training(config("report=true", "log_iter=1", "epoch=1"), evaluate=True)
    page = (config.folder / "index.html").read_text(encoding="utf-8")
    assert "://" not in page and page.count("data:image/png;base64,") >= 3
    assert "8 images" in page and "square, circle" in page
    report = {path.name for path in (config.folder / "report").iterdir()}
    images = {"losses.png", "error_types.png", "train_batches", "prediction_1.jpg"}
    assert images | {"bbox.json", "truth.json", "label_suspects.csv"} <= report
    assert len(list((config.folder / "report/train_batches").iterdir())) == 8
    table = (config.folder / "results.csv").read_bytes()
    run_training(config("report=true", "epoch=1"))  # another run: nothing of the first is left
    previous = config.folder / "previous/1"
    assert "previous/1" in (config.folder / "train.log").read_text()
    assert (previous / "results.csv").read_bytes() == table
    assert (previous / "index.html").read_text(encoding="utf-8") == page
    assert {path.name for path in (previous / "report").iterdir()} == report
    report = {path.name for path in (config.folder / "report").iterdir()}
    assert "losses.png" in report and not {"error_types.png", "bbox.json"} & report
    first = (config.folder / "index.html").stat().st_mtime_ns
    assert run_page.write_run_page(config.folder).stat().st_mtime_ns > first
