"""Hooks for trainings of the toy network."""

import os
import signal

from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.hooks.saving import BestModelHook, CheckpointHook, CheckpointWriter, EvalHook


class StopAfter(Hook):
    """Ctrl-C in the middle of step number `iteration`."""

    def __init__(self, iteration):
        self.iteration = iteration

    def before_update(self, run, record):
        if run.state.iteration + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGINT)


class Recorder(Hook):
    def __init__(self):
        self.losses = []
        self.rates = []

    def after_step(self, run, record):
        self.losses.append(record.mean_losses()["loss"])
        self.rates.append(record.learning_rate)


def saving(folder, snapshot_epoch=1):
    return CheckpointHook(CheckpointWriter(str(folder), {}), snapshot_epoch)


def flat(state):
    """All numbers of a resume state in one dict."""
    arrays = {f"model.{k}": v for k, v in state["model"].items()}
    arrays.update({f"optimizer.{k}": v for k, v in state["optimizer"].items()})
    arrays.update({f"ema.{k}": v for k, v in state["ema"]["shadow"].items()})
    return arrays


class FakeEvaluator:
    """Scores from a list; remembers the weights it saw."""

    def __init__(self, scores):
        self.scores = list(scores)
        self.seen = []
        self.primary = None

    def run(self, model):
        self.seen.append({k: v.numpy() for k, v in model.state_dict().items()})
        self.primary = ("bbox_map", self.scores.pop(0))
        return {"bbox_map": self.primary[1], "bbox_map50": 0.5}

    def best_thresholds(self):
        return [0.5, 0.5]


def eval_hooks(folder, scores):
    evaluator = FakeEvaluator(scores)
    writer = CheckpointWriter(folder, {"class_names": ["cat", "dog"], "config": "toy"})
    hooks = [CheckpointHook(writer, 1), EvalHook(evaluator, 1)]
    return evaluator, [*hooks, BestModelHook(writer)]
