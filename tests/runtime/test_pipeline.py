"""Decoding, the network and drawing at the same time: threads, and the network's own process."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.errors import UserError
from ppdet_lite.runtime import process
from ppdet_lite.runtime.detector import Detector
from ppdet_lite.runtime.engines.engine import EngineError
from ppdet_lite.runtime.frames.pipeline import FramePipeline
from ppdet_lite.runtime.frames.sources import Frame
from ppdet_lite.runtime.process import EngineProcess, Link


def numbered_image(number):
    """A gray image with a white bar whose length tells its number."""
    image = np.full((96, 128, 3), 60, np.uint8)
    image[8:40, : 8 * (number + 1)] = 250
    return image


# ------------------------------------------------------------------------------------ the pipeline
def pipeline_of(frames, written, detect=None, prepare=None, **options):
    def write(frame, found):
        written.append((frame, found))

    return FramePipeline(
        frames,
        prepare or (lambda image: image),
        detect or (lambda samples: list(samples)),
        write,
        **options,
    )


def numbered(count):
    return (Frame(index, index, 0) for index in range(count))


def test_order_is_kept_in_batches():
    written, sizes = [], []

    def detect(samples):
        sizes.append(len(samples))
        time.sleep(0.001)
        return [10 * sample for sample in samples]

    pipeline = pipeline_of(numbered(23), written, detect, batch_size=4)
    assert pipeline.run() == 23 and pipeline.skipped == 0
    assert sizes == [4, 4, 4, 4, 4, 3]
    assert [(frame.number, found) for frame, found in written] == [(i, 10 * i) for i in range(23)]


def test_stages_overlap_and_queues_are_bounded():
    """Each stage waits for the others to be at work at the same time."""
    together = threading.Barrier(3, timeout=20)
    ahead, seen = [], []

    def prepare(image):
        if image == 6:
            together.wait()
        ahead.append(image)
        return image

    def detect(samples):
        if samples[0] == 3:
            together.wait()
        return samples

    def write(frame, found):
        if frame.number == 1:
            together.wait()
        seen.append((frame.number, max(ahead)))

    pipeline = FramePipeline(numbered(60), prepare, detect, write, queue_length=2)
    pipeline.run()
    assert [index for index, _ in seen] == list(range(60))
    # two queues of 2, one frame in the hands of each stage
    assert max(newest - index for index, newest in seen) <= 7


@pytest.mark.parametrize("stage", ["prepare", "detect", "write", "frames"])
def test_an_error_in_any_stage_ends_the_run_with_its_message(stage):
    def fail(*args):
        raise RuntimeError(f"broken {stage}")

    def failing_frames():
        yield Frame(0, 0, 0)
        fail()

    written = []
    frames = failing_frames() if stage == "frames" else numbered(1000)
    options = {stage: fail} if stage in ("prepare", "detect") else {}
    pipeline = pipeline_of(frames, written, **options)
    if stage == "write":
        pipeline.write = fail
    before = threading.active_count()
    with pytest.raises(RuntimeError, match=f"broken {stage}"):
        pipeline.run()
    assert threading.active_count() == before
    if stage == "frames":
        assert len(written) == 1  # what was read before the error is done


def test_ctrl_c_comes_before_the_errors_that_come_with_it():
    """A signal to all processes of a service ends the network's process, too."""

    def detect(samples):
        signal.raise_signal(signal.SIGINT)
        raise UserError("the process of the network ended")

    with pytest.raises(KeyboardInterrupt):
        pipeline_of(numbered(9), [], detect).run()


def test_a_live_source_skips_what_the_network_cannot_follow():
    written = []

    def frames():
        for index in range(100):
            time.sleep(0.001)
            yield Frame(index, index, 0)

    def detect(samples):
        time.sleep(0.01)
        return samples

    pipeline = pipeline_of(frames(), written, detect, is_live=True)
    done, skipped = pipeline.run(), pipeline.skipped
    order = [frame.number for frame, _ in written]
    assert skipped > 20 and done + skipped == 100 and len(order) == done
    assert order == sorted(order) and order[-1] == 99


# ------------------------------------------------------------------------ the engine's own process
@pytest.fixture(scope="module")
def apart(exported):
    detector = Detector(exported, cpu_threads=1, own_process=True, batch_size=2)
    yield detector
    detector.close()


def test_another_process_computes_the_same(exported, apart):
    here = Detector(exported, cpu_threads=1)
    assert isinstance(apart.engine, EngineProcess)
    assert apart.engine.kernels == here.engine.kernels == "oneDNN"
    assert list(apart.engine.input_names) == list(here.engine.input_names)
    images = [numbered_image(index) for index in range(3)]
    for count in (1, 2, 3):  # 3 are more than the shared memory holds: they take the pipe
        for one, other in zip(apart.predict(images[:count]), here.predict(images[:count])):
            np.testing.assert_allclose(one, other, atol=0.01)


def test_threads_of_this_process_work_while_the_network_computes(apart):
    found = []
    thread = threading.Thread(target=lambda: found.extend(apart.predict([numbered_image(1)])))
    os.kill(apart.engine.process.pid, signal.SIGSTOP)  # a network that takes very long
    try:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and found == []
    finally:
        os.kill(apart.engine.process.pid, signal.SIGCONT)
    thread.join(60)
    assert len(found) == 1


def test_errors_of_the_other_process_are_raised_here(exported, apart, tmp_path):
    with pytest.raises(UserError, match="`device` XPU: this Paddle was built without Kunlun"):
        Detector(exported, "XPU", own_process=True)
    wrong = {"image": np.zeros((1, 3, 10, 10), np.float32)}
    wrong.update(im_shape=np.ones((1, 2), np.float32), scale_factor=np.ones((1, 2), np.float32))
    with pytest.raises(EngineError, match="Paddle cannot run") as caught:
        apart.engine.run(wrong)
    assert caught.value.graph == apart.files.graph
    assert len(apart.predict([numbered_image(1)])) == 1  # it still runs


def test_a_process_that_dies_is_said(exported):
    detector = Detector(exported, cpu_threads=1, own_process=True)
    os.kill(detector.engine.process.pid, signal.SIGKILL)
    with pytest.raises(UserError, match=f"^{exported}: the process .* ended .signal 9, .*memory"):
        detector.predict([numbered_image(1)])
    detector.close()


# ------------------------------------------------------- the engine's own process, with stand-ins
class Answers:
    """The near end of a pipe to a process that answers with what it was sent, in order."""

    def __init__(self, error=None):
        self.error, self.waiting, self.is_closed = error, [], False

    def send(self, message):
        self.waiting.append(message)

    def recv(self):
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return self.waiting.pop(0)

    def close(self):
        self.is_closed = True


class Process:
    exitcode, is_alive = None, staticmethod(lambda: False)

    def join(self, seconds=None):
        pass

    def kill(self):
        self.exitcode = -9


@pytest.fixture
def link():
    return Link("model", Answers(), Process())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, InterruptedError])
def test_an_interrupted_run_leaves_no_answer_for_the_next(link, interruption):
    """Handlers of signals may raise what they like."""
    assert link.answer({"image": "a"}) == {"image": "a"}
    link.pipe.error = interruption()
    with pytest.raises(interruption):
        link.answer({"image": "b"})
    assert link.pipe.is_closed and link.process.exitcode == -9
    with pytest.raises(UserError, match="^model: .* a run of it was interrupted; open it again"):
        link.answer({"image": "c"})
    link.close()


def test_a_closed_engine_says_so(link):
    link.close()
    with pytest.raises(UserError, match="^model: .* it was closed; open it again"):
        link.answer({"image": "a"})


@pytest.mark.parametrize(
    ("code", "how"), [(-15, "signal 15"), (-9, "signal 9, .*memory"), (1, "exit code 1")]
)
def test_how_the_process_ended(link, code, how):
    link.pipe.error, link.process.exitcode = EOFError(), code
    with pytest.raises(UserError, match=f"^model: the process of the network ended .{how}"):
        link.answer({"image": "a"})


class Engine:
    """What the other process opens; it computes with `compute`."""

    kernels, device, runs_on, fixed_batch, input_names = "none", "CPU", "cpu", None, ["image"]

    def __init__(self, compute):
        self.run = compute


@pytest.fixture
def served(exported, monkeypatch):
    """Serves here with an engine that computes as told, on the given pipe."""
    monkeypatch.setattr(signal, "signal", lambda *args: None)

    def serve(pipe, compute):
        monkeypatch.setattr(process, "open_engine", lambda files, options: Engine(compute))
        process.serve(pipe, None, None, None)

    return serve


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals cannot wait here")
def test_a_request_to_end_while_paddle_is_imported(repo):
    """Its handler, which prints a call stack, is never called."""
    code = """
import os, signal
from ppdet_lite.runtime import process
with process._termination_waits():
    signal.signal(signal.SIGTERM, lambda *args: print("stack", flush=True))
    os.kill(os.getpid(), signal.SIGTERM)
    print("imported", flush=True)
print("here")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(repo)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "imported\n"), done.stderr


def test_an_answer_that_nobody_took_is_no_error(served):
    pipe = Answers(ConnectionResetError(104, "Connection reset by peer"))
    served(pipe, compute=lambda inputs: inputs)
    assert [facts["kernels"] for facts in pipe.waiting] == ["none"]


def test_defects_of_the_other_process_keep_their_call_stack(served):
    def broken_line(inputs):
        raise ZeroDivisionError("of course")

    class Pipe(Answers):
        asked = 0

        def recv(self):
            self.asked += 1
            if self.asked > 1:
                raise EOFError
            return {"image": 0}

    pipe = Pipe()
    served(pipe, broken_line)
    answer = pipe.waiting[1]
    assert isinstance(answer, RuntimeError)
    text = str(answer)
    assert text.startswith("ZeroDivisionError: of course\n\nin the network's process:\nTraceback")
    assert 'raise ZeroDivisionError("of course")' in text


def test_ctrl_c_while_the_other_process_starts(exported, monkeypatch):
    """It ends without a word: it ignores Ctrl-C from its first moment and is not asked to end."""
    seen = []

    def interrupted(self):
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():  # Linux
            ignored = next(x for x in status.read_text().splitlines() if x.startswith("SigIgn:"))
            assert int(ignored.split()[1], 16) & 1 << (signal.SIGINT - 1)
        seen.append(self.process)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Link, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Detector(exported, own_process=True)
    assert seen[0].exitcode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGINT) is before
