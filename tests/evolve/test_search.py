"""The search on a cheap objective: mutation of the fittest, resuming, failures, several devices."""

import json

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError, TrainingError, UserError
from ppdet_lite.core.workspace import load_config
from ppdet_lite.evolve.conditions import conditions_of
from ppdet_lite.evolve.genes import Gene
from ppdet_lite.evolve.plot import draw_search
from ppdet_lite.evolve.results import Results, Row
from ppdet_lite.evolve.samplers import GeneticSampler, OptunaSampler
from ppdet_lite.evolve.search import Outcome, search

GENES = [
    Gene("lr", "LearningRate.base_lr", 1e-4, 1.0, 0.5),
    Gene("size", "TrainReader.batch_size", 1, 32, 4, whole=True),
]


class Parabola:
    """Best at lr 0.02 and size 16; trials end after `polls` looks. Some numbers fail."""

    def __init__(self, polls=1, fails=()):
        self.polls, self.fails, self.started, self.most = polls, fails, [], 0
        self.running = 0

    def start(self, number, values, device):
        self.started.append((number, values, device))
        self.running += 1
        self.most = max(self.most, self.running)
        return Trial(self, number, values)

    def fitness(self, values):
        return -abs(np.log10(values["lr"] / 0.02)) - abs(values["size"] - 16) / 16


class Trial:
    def __init__(self, owner, number, values):
        self.owner, self.number, self.values, self.left = owner, number, values, owner.polls

    def outcome(self):
        self.left -= 1
        if self.left > 0:
            return None
        self.owner.running -= 1
        if self.number in self.owner.fails:
            return Outcome(None, "the loss is NaN")
        return Outcome(self.owner.fitness(self.values))

    def stop(self):
        self.owner.running -= 1


@pytest.fixture
def results(tmp_path):
    return lambda genes=GENES, name="toy", conditions=None: Results(
        tmp_path / "results.jsonl", name, genes, conditions
    )


def test_mutation_of_the_fittest_gets_better_and_stays_in_bounds(results):
    found, objective = results(), Parabola()
    search(GENES, GeneticSampler(), objective, found, 80)
    assert [row.trial for row in found.rows] == list(range(80))
    assert found.rows[0].values == {"lr": 0.5, "size": 4}
    best = found.ranked()[0]
    assert best.fitness > objective.fitness(found.rows[0].values) + 1
    for row in found.rows:
        assert 1e-4 <= row.values["lr"] <= 1
        assert row.values["size"] in range(1, 33)
    assert len({json.dumps(row.values) for row in found.rows}) > 70


def test_a_gene_of_zero_moves_and_every_child_differs():
    genes = [Gene("smooth", "a.b", 0.0, 0.1, 0.0)]
    ranked = [Row(0, {"smooth": 0.0}, 0.1)]
    values = [GeneticSampler().values(trial, genes, ranked)["smooth"] for trial in range(1, 30)]
    assert all(0 < value <= 0.1 for value in values)


def test_a_search_that_was_stopped_goes_on_with_the_same_trials(results):
    whole = results()
    search(GENES, GeneticSampler(), Parabola(), whole, 12)
    expected = [(row.trial, row.values) for row in whole.rows]
    whole.path.unlink()

    class Stop(Exception):
        pass

    def stop_at_five(row):
        if row.trial == 5:
            raise Stop

    objective = Parabola()
    with pytest.raises(Stop):
        search(GENES, GeneticSampler(), objective, results(), 12, told=stop_at_five)
    again, objective = results(), Parabola()
    assert len(again.rows) == 6
    search(GENES, GeneticSampler(), objective, again, 12)
    assert [number for number, *_ in objective.started] == list(range(6, 12))
    assert [(row.trial, row.values) for row in again.rows] == expected
    assert results().rows == again.rows


def test_devices_work_side_by_side_and_are_stopped_at_an_error(results):
    objective = Parabola(polls=3)
    search(GENES, GeneticSampler(), objective, results(), 9, devices=["0", "1", "2"])
    assert objective.most == 3
    assert {device for *_, device in objective.started} == {"0", "1", "2"}

    def interrupt(row):
        raise KeyboardInterrupt

    objective = Parabola(polls=2)
    with pytest.raises(KeyboardInterrupt):
        search(GENES, GeneticSampler(), objective, results(), 30, ["0", "1"], interrupt)
    assert objective.running == 0


def test_a_failed_trial_is_a_row_with_its_reason(results):
    found = results()
    search(GENES, GeneticSampler(), Parabola(fails=[0, 3]), found, 6)
    assert [row.fitness is None for row in found.rows] == [True, False, False, True, False, False]
    assert found.rows[3].reason == "the loss is NaN"
    with pytest.raises(TrainingError, match="all trials have failed.*NaN"):
        found.path.unlink()
        search(GENES, GeneticSampler(), Parabola(fails=range(9)), results(), 9)


def test_results_of_another_search_are_not_mixed(results):
    search(GENES, GeneticSampler(), Parabola(), results(), 2)
    with pytest.raises(DataError, match="genes: found .*allowed"):
        results(GENES[:1])
    with pytest.raises(DataError, match="config: found toy, .*other"):
        results(name="other")
    path = results().path
    text = path.read_text()
    path.write_text(text.replace(', "conditions": {}', ""))
    with pytest.raises(DataError, match="conditions: found none"):
        results()
    for broken in (text + "{broken\n", "[1]\n"):
        path.write_text(broken)
        with pytest.raises(DataError, match="no results of a search"):
            results()


def test_fitnesses_of_other_settings_are_not_mixed(results, repo):
    path = repo / "configs/yolov4/yolov4_cspdarknet53_coco.yml"

    def of(*options):
        return results(conditions=conditions_of(load_config(path, options)))

    search(GENES, GeneticSampler(), Parabola(), of("epoch=1"), 2)
    same = of("epoch=1", "worker_num=0", "log_iter=5", "save_dir=elsewhere")
    assert len(same.rows) == 2
    search(GENES, GeneticSampler(), Parabola(), same, 3)  # more trials of the same kind
    for options, found in (
        (("epoch=27",), "epoch: found 1, allowed to go on with: 27; choose another `output`"),
        (("epoch=1", "TrainReader.batch_size=4"), "TrainReader.batch_size: found 8, .*with: 4"),
        (("epoch=1", "LearningRate.schedulers=[!CosineDecay {}]"), "schedulers.0.name: found It"),
        (("epoch=1", "pretrain_weights=a.pdparams"), "pretrain_weights: found None"),
    ):
        with pytest.raises(DataError, match=found):
            of(*options)
    assert len(of("epoch=1").rows) == 3


def test_figure(results, tmp_path):
    pytest.importorskip("matplotlib")
    found = results()
    search(GENES, GeneticSampler(), Parabola(fails=[2]), found, 5)
    draw_search(found, GENES, tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes()[:4] == b"\x89PNG"


def test_optuna_is_another_sampler_or_named_as_missing(results):
    try:
        import optuna  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="pip install optuna"):
            OptunaSampler()
        return
    found, objective = results(), Parabola()
    search(GENES, OptunaSampler(), objective, found, 40)
    assert found.ranked()[0].fitness > objective.fitness(found.rows[0].values) + 1
