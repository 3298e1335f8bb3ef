"""The learning rate by hand, and how it is read from a configuration."""

import re

import pytest

from ppdet_lite.core.errors import ConfigError
from ppdet_lite.core.workspace import create, load_config
from ppdet_lite.train.schedule import (
    CosineDecay,
    ExpWarmup,
    IterationDecay,
    LearningRate,
    LinearWarmup,
    PiecewiseDecay,
)


def rates(curve, iterations, steps_per_epoch=10, epochs=10):
    return [curve.at(i, steps_per_epoch, epochs) for i in iterations]


def test_a_milestone_inside_the_warmup_does_not_collapse_the_rate():
    curve = LearningRate(1.0, [PiecewiseDecay(0.1, [2]), LinearWarmup(100, 0.0)])
    # drop at iteration 20 while the ramp goes on to 100
    assert rates(curve, [0, 10, 19, 20, 50, 99, 100]) == pytest.approx(
        [0, 0.10, 0.19, 0.02, 0.05, 0.099, 0.1]
    )


def test_warmup_in_epochs_counts_optimizer_steps():
    curve = LearningRate(2.0, [LinearWarmup(steps=500, start_factor=0.5, epochs=2)])
    assert curve.warmup_steps(10) == 20
    assert rates(curve, [0, 10, 20, 999]) == pytest.approx([1.0, 1.5, 2.0, 2.0])
    by_steps = LinearWarmup(steps=500, epochs=2, epochs_first=False)
    assert LearningRate(2.0, [by_steps]).warmup_steps(10) == 500


def test_one_factor_is_applied_again_at_every_milestone():
    curve = LearningRate(1.0, [PiecewiseDecay(0.5, [1, 3])])
    assert rates(curve, [9, 10, 29, 30]) == pytest.approx([1, 0.5, 0.5, 0.25])
    listed = LearningRate(1.0, [PiecewiseDecay([0.3, 0.2], [1, 3])])
    assert rates(listed, [9, 10, 30]) == pytest.approx([1, 0.3, 0.2])
    absolute = LearningRate(0.5, [PiecewiseDecay(0.1, [1, 3], values=[0.4, 0.2, 0.1])])
    assert rates(absolute, [9, 10, 30]) == pytest.approx([0.4, 0.2, 0.1])


def test_absolute_values_follow_the_batch_too():
    curve = LearningRate(0.5, [PiecewiseDecay(0.1, [1], values=[0.4, 0.2])])
    assert curve.at(10, 10, 10, base_lr=0.25) == pytest.approx(0.1)


def test_cosine_without_an_end_of_its_own_uses_the_training():
    curve = LearningRate(1.0, [CosineDecay(min_lr_ratio=0.1)])
    assert rates(curve, [0, 50, 100, 150]) == pytest.approx([1.0, 0.55, 0.1, 0.1])
    short = LearningRate(1.0, [CosineDecay(), LinearWarmup(200, 0.0)])
    assert rates(short, [50, 99]) == pytest.approx([0.25, 0.495])


@pytest.mark.parametrize(
    "schedulers, epochs, wanted",
    [
        ([PiecewiseDecay(0.1, [243, 324])], 300, "PiecewiseDecay .* 300, so milestones .324. are"),
        ([PiecewiseDecay(0.1, [243])], 243, "milestones .243. are never reached"),
        ([CosineDecay(300), LinearWarmup(9)], 50, "epoch is 50, so max_epochs 300 is never"),
        ([CosineDecay(300)], 310, "max_epochs 300 leaves 10 epochs at the last rate"),
    ],
)
def test_a_schedule_for_another_length_of_training(schedulers, epochs, wanted):
    (line,) = LearningRate(1.0, schedulers).remarks(10, epochs)
    assert re.search(wanted, line), line


@pytest.mark.parametrize(
    "warmup, wanted",
    [
        (
            LinearWarmup(9, epochs=4),
            "takes 40 .* 50 .* only late, .*Warmup.epochs=0.5, .*=8;",
        ),
        (LinearWarmup(60), "takes 60 .* 50 .* never reaches .*LinearWarmup.steps=5, or epoch=12;"),
        (ExpWarmup(26), "takes 26 .* 50 .*ExpWarmup.steps=5, or epoch=6;"),
    ],
)
def test_a_warmup_of_more_than_half_the_training_is_refused(warmup, wanted):
    with pytest.raises(ConfigError, match=f"LearningRate.schedulers.*{wanted}"):
        LearningRate(1.0, [warmup]).remarks(10, 5)
    (line,) = LearningRate(1.0, [warmup], allow_long_warmup=True).remarks(10, 5)
    assert "so the learning rate" in line


def test_the_shortest_trainings_have_no_warmup_to_speak_of():
    assert LearningRate(1.0, [LinearWarmup(epochs=0.24)]).remarks(1, 1) == []


def test_schedules_that_fit_are_not_remarked_on():
    class OwnDecay:
        use_warmup = True

    for decay in (PiecewiseDecay(0.1, [3]), CosineDecay(5), CosineDecay(), OwnDecay()):
        assert LearningRate(1.0, [decay, LinearWarmup(25)]).remarks(10, 5) == []
    assert LearningRate(1.0).remarks(10, 5) == []


def test_use_warmup_false_leaves_the_ramp_out():
    curve = LearningRate(1.0, [LinearWarmup(50, 0.0), PiecewiseDecay(0.1, [2], use_warmup=False)])
    assert rates(curve, [0, 20]) == pytest.approx([1.0, 0.1])


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: PiecewiseDecay(0.1, [5, 3]), r"must ascend, found \[5, 3\]"),
        (lambda: PiecewiseDecay([0.1], [5, 8]), "gamma needs 2 entries for 2 milestones"),
        (lambda: PiecewiseDecay(0.1, [5], values=[1.0]), "values needs 2 entries"),
        (lambda: LearningRate(0.1, [CosineDecay(), PiecewiseDecay()]), "two of the kind decay"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, text):
    with pytest.raises(ConfigError, match=text):
        make()


def test_the_rate_follows_the_batch_and_shows_how():
    curve = LearningRate(0.005, reference_batch_size=96)
    rate, text = curve.scaled_lr(world_size=1, batch_size=4, accumulate_steps=2)
    assert rate == pytest.approx(0.005 * 8 / 96)
    assert "0.005 x 8 / 96 = 0.000416667" in text and "1 process(es) x 4 images x 2" in text
    # the tutorial's table for PP-YOLOv2: 8 x 12, 1 x 12, 8 x 6
    found = [curve.scaled_lr(gpus, images)[0] for gpus, images in ((8, 12), (1, 12), (8, 6))]
    assert found == pytest.approx([0.005, 0.000625, 0.0025])


def test_the_rate_stays_when_told_so_or_without_a_reference():
    rate, text = LearningRate(0.005, None, 96, scale_with_batch=False).scaled_lr(1, 4)
    assert rate == 0.005 and "scale_with_batch is false" in text
    rate, text = LearningRate(0.005).scaled_lr(1, 4)
    assert rate == 0.005 and "states no LearningRate.reference_batch_size" in text


def test_paddles_scheduler_is_stepped_once_per_iteration():
    curve = LearningRate(1.0, [PiecewiseDecay(0.1, [1]), LinearWarmup(4, 0.0)])
    scheduler = curve(steps_per_epoch=6, epochs=2, base_lr=2.0)
    seen = []
    for _ in range(8):
        seen.append(scheduler())
        scheduler.step()
    assert seen == pytest.approx([0, 0.5, 1.0, 1.5, 2.0, 2.0, 0.2, 0.2])


def test_both_spellings_of_a_config(tmp_path):
    tags = """
LearningRate:
  base_lr: 0.4
  schedulers:
    - !PiecewiseDecay {gamma: 0.1, milestones: [3]}
    - !LinearWarmup {start_factor: 0., steps: 20}
"""
    names = """
LearningRate:
  base_lr: 0.4
  schedulers:
    - {name: PiecewiseDecay, gamma: 0.1, milestones: [3]}
    - {name: LinearWarmup, start_factor: 0., steps: 20}
"""
    for text in (tags, names):
        (tmp_path / "lr.yml").write_text(text)
        curve = create("LearningRate", load_config(tmp_path / "lr.yml"))
        assert rates(curve, [10, 20, 30]) == pytest.approx([0.2, 0.4, 0.04])
        override = ["LearningRate.schedulers.0.gamma=0.5"]
        curve = create("LearningRate", load_config(tmp_path / "lr.yml", override))
        assert rates(curve, [30]) == pytest.approx([0.2])
    override = ["LearningRate.schedulers.0.milestones=[5, 3]"]
    with pytest.raises(ConfigError) as caught:
        create("LearningRate", load_config(tmp_path / "lr.yml", override))
    assert str(caught.value) == (
        f"{tmp_path}/lr.yml:5: LearningRate.schedulers.0: PiecewiseDecay.milestones must ascend, "
        "found [5, 3]"
    )


@pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf")])
def test_a_rate_that_cannot_train_is_refused(rate):
    with pytest.raises(ConfigError, match="base_lr: found .*, allowed: a number above 0"):
        LearningRate(rate)
    with pytest.raises(ConfigError, match="reference_batch_size: found 0, allowed: 1 or more"):
        LearningRate(0.1, reference_batch_size=0)


def test_iteration_decay_by_hand():
    decay = IterationDecay([100, 150], gamma=[0.5, 0.1])
    found = [decay.factor(it, 1.0, 0, 10, 20) for it in (0, 99, 100, 149, 150, 10**6)]
    assert found == pytest.approx([1, 1, 0.5, 0.5, 0.05, 0.05])
    for arguments, text in (([[5, 3]], "milestones"), ([[3, 5], [0.1]], "gamma: found 1")):
        with pytest.raises(ConfigError, match=text):
            IterationDecay(*arguments)
