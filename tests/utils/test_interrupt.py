"""Signals while a run works, and while it saves its state."""

import os
import signal

import pytest

from ppdet_lite.utils.interrupt import Interrupts


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("in_step", [True, False])
def test_a_second_signal_does_not_end_the_saving_and_a_third_does(capfd, first, second, in_step):
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            if in_step:
                with interrupts.step():
                    send(first)
                    done = True  # the step goes on
                assert done
            else:
                send(first)
        send(second)  # while the caller saves
        assert not interrupts.forced and "once more" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            send(second)


def test_control_c_again_ends_a_step_and_a_repeated_sigterm_does_not(capfd):
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.step():
            send(signal.SIGTERM)
            send(signal.SIGTERM)
            assert not interrupts.forced and "Ctrl-C again" in capfd.readouterr().err
            send(signal.SIGINT)
            raise AssertionError("the step must have ended")
        assert interrupts.forced


def test_several_processes_stop_at_the_end_of_a_step_that_all_agree_on():
    answers = iter([False, True])
    with Interrupts(lambda asked: next(answers)) as interrupts:
        with interrupts.step():
            pass
        with pytest.raises(KeyboardInterrupt), interrupts.step():
            pass  # another process was asked
        send(signal.SIGTERM)  # to this one, while it saves
        assert not interrupts.forced
        for _ in range(3):  # as launchers do
            send(signal.SIGTERM)
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_what_is_saved_after_an_error_is_protected_too():
    with Interrupts() as interrupts:
        interrupts.begin_saving()
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
