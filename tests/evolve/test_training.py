"""Trials as processes, without a training: reasons of failures, and what is gone on from."""

import json
import subprocess
import sys
import time

import pytest

from ppdet_lite.evolve.genes import Gene
from ppdet_lite.evolve.training import TrainingObjective, TrainingTrial

GENES = [Gene("lr", "LearningRate.base_lr", 1e-4, 1.0, 0.5)]


def ended(folder, code, value=None):
    """The outcome of a process that runs `code`, beside an evaluation of `value`."""
    run = folder / "run"
    run.mkdir(parents=True, exist_ok=True)
    (run / "model_final.pdparams").write_text("weights")
    if value is not None:
        (run / "best_model.meta.json").write_text(json.dumps({"best": {"value": value}}))
    with open(folder / "output.txt", "wb") as log:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)
    process.wait()
    outcome = TrainingTrial(process, folder / "output.txt", run, False).outcome()
    assert not list(run.iterdir())  # checkpoints are removed
    return outcome


@pytest.mark.parametrize(
    ("code", "value", "reason"),
    [
        (
            "print('error: the loss is NaN'); raise SystemExit(2)",
            None,
            "exit code 2: the loss is NaN",
        ),
        ("raise ValueError('bad')", 0.4, "exit code 1: ValueError: bad"),
        ("import os; os.kill(os.getpid(), 9)", None, "killed by SIGKILL"),
        ("", None, "no evaluation"),
        ("", float("nan"), "the evaluation gave nan"),
    ],
)
def test_failures_have_reasons(tmp_path, code, value, reason):
    outcome = ended(tmp_path, code, value)
    assert outcome.fitness is None
    assert reason in outcome.reason


def test_the_fitness_is_the_best_evaluation(tmp_path):
    assert ended(tmp_path, "", 0.25) == (0.25, "")


def test_a_trial_starts_anew_with_other_values(tmp_path):
    objective = TrainingObjective(tmp_path / "no.yml", [], GENES, tmp_path)

    def start(values):
        trial = objective.start(3, values, "")
        folder = tmp_path / "trial_0003"
        kept = (folder / "mark").exists()
        (folder / "mark").write_text("")
        deadline = time.monotonic() + 120
        while (outcome := trial.outcome()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return kept, outcome

    first, second, third = start({"lr": 0.1}), start({"lr": 0.1}), start({"lr": 0.2})
    assert (first[0], second[0], third[0]) == (False, True, False)
    assert first[1].fitness is None
    assert "no such config file" in first[1].reason
