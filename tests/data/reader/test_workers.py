import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.core.errors import DataError
from tests.data.readers import assert_same_batches, train_reader


def worker_pids():
    return [p.pid for p in sorted(multiprocessing.active_children(), key=lambda p: p.name)]


def is_alive(pid):
    """Whether a process runs; a zombie that nobody has waited for does not count."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until_gone(pids, seconds=10):
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still alive: {[p for p in pids if is_alive(p)]}"
        time.sleep(0.05)


class Sleep:
    """A slow transform: keeps workers busy while the test acts."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, sample, context=None):
        time.sleep(self.seconds)
        return sample


class ActInBatchOf:
    """Does something when a certain image comes by."""

    def __init__(self, suffix, act):
        self.suffix, self.act = suffix, act

    def __call__(self, sample, context=None):
        if sample["im_file"].endswith(self.suffix):
            self.act()
        return sample


def plain(dataset, steps, **settings):
    settings = {"shuffle": False, "mixup_epoch": -1, "batch_size": 2, **settings}
    return train_reader(dataset, extra_sample=steps, **settings)


def test_killed_worker_ends_the_run_with_its_reason(dataset):
    reader = plain(dataset, [Sleep(0.3)], worker_num=2)
    batches = reader.batches(0)
    next(batches)
    pids = worker_pids()
    os.kill(pids[1], signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(DataError) as error:
        list(batches)
    assert time.monotonic() - began < 5
    assert str(error.value).startswith(
        f"reader worker 1 (process {pids[1]}) was killed by signal 9 (SIGKILL) while batch "
    )
    assert "of epoch 0" in str(error.value) and "out of memory" in str(error.value)
    assert re.search(r"the last file that it worked on: .*\d\d\.jpg$", str(error.value))
    wait_until_gone(pids)


def test_worker_that_kills_itself_in_the_first_batch(dataset):
    step = ActInBatchOf("00.jpg", lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(DataError, match=r"was killed by signal 15 \(SIGTERM\) while batch 0 of"):
        list(plain(dataset, [step], worker_num=2).batches(0))


def test_worker_that_exits(dataset):
    step = ActInBatchOf("03.jpg", lambda: os._exit(7))
    with pytest.raises(DataError, match="reader worker 1 .* ended with exit code 7 while batch"):
        list(plain(dataset, [step], worker_num=2).batches(0))


def test_a_file_that_takes_too_long_is_named(dataset):
    """A pipe that nobody writes to stands for a file system that does not answer."""
    path = dataset.paths[3][0]
    os.remove(path)
    os.mkfifo(path)
    reader = plain(dataset, [], worker_num=2, max_decode_seconds=0.5)
    with pytest.raises(DataError) as error:
        list(reader.batches(0))
    assert str(error.value).startswith(f"{path}: reader worker 1 (process ")
    assert "more than max_decode_seconds 0.5" in str(error.value)
    assert worker_pids() == []


def test_slow_transforms_are_no_slow_files(dataset):
    reader = plain(dataset, [Sleep(1.5)], worker_num=1, batch_size=1, max_decode_seconds=0.1)
    assert len(next(reader.batches(0))["im_file"]) == 1


def test_exception_comes_back_with_traceback_and_file(dataset):
    def fail():
        raise KeyError("the transform is wrong")

    step = ActInBatchOf("03.jpg", fail)
    with pytest.raises(RuntimeError) as error:
        list(plain(dataset, [step], worker_num=2).batches(0))
    text = str(error.value)
    assert text.startswith("reader worker 1 (process ")
    assert "failed at batch 1:" in text
    assert "KeyError: 'the transform is wrong'" in text
    assert f"ActInBatchOf failed on {dataset.paths[3][0]}" in text
    assert "in fail" in text


def test_no_worker_is_left_after_an_epoch_or_close(dataset):
    reader = plain(dataset, [], worker_num=3)
    batches = reader.batches(0)
    next(batches)
    first = worker_pids()
    list(batches)
    wait_until_gone(first)
    unfinished = reader.batches(1)
    next(unfinished)
    second = worker_pids()
    reader.close()
    wait_until_gone(second)
    assert worker_pids() == []


def test_leaving_the_loop_ends_the_workers(dataset):
    reader = plain(dataset, [], worker_num=2)
    pids = []
    for _ in reader.batches(0):
        pids = worker_pids()
        break
    wait_until_gone(pids)


def test_batches_of_a_closed_reader(dataset):
    reader = plain(dataset, [], worker_num=2)
    batches = reader.batches(0)
    next(batches)
    reader.close()
    with pytest.raises(RuntimeError, match="batch 1: the reader has been closed; iterate anew"):
        next(batches)
    assert len(list(reader.batches(0))) == len(reader)


def test_a_system_that_allows_too_few_processes(dataset, monkeypatch):
    fork, started = os.fork, []

    def limited():
        if len(started) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        pid = fork()
        started.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", limited)
    with pytest.raises(DataError, match="worker 2 of 4 cannot be started .*smaller worker_num"):
        next(plain(dataset, [], worker_num=4).batches(0))
    assert len(started) == 2
    wait_until_gone(started)


def test_ctrl_c_while_workers_start_leaves_none(dataset, monkeypatch):
    fork, started = os.fork, []

    def interrupted():
        pid = fork()
        if pid:
            started.append(pid)
            os.kill(os.getpid(), signal.SIGINT)
        return pid

    monkeypatch.setattr(os, "fork", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(plain(dataset, [], worker_num=4).batches(0))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(started) == 1
    wait_until_gone(started)


def test_a_reader_in_threads(dataset):
    """Each loop gets its own batches, with workers and without, also of one reader."""
    expected = list(plain(dataset, []).batches(0))
    shared = plain(dataset, [])
    readers = [shared, shared, plain(dataset, [], worker_num=2), plain(dataset, [], worker_num=1)]
    for _ in range(3):
        with ThreadPoolExecutor() as threads:
            found = list(threads.map(lambda reader: list(reader.batches(0)), readers))
        for batches in found:
            assert_same_batches(expected, batches)


def test_two_readers_take_turns(dataset):
    expected = list(plain(dataset, []).batches(0))
    both = [plain(dataset, [], worker_num=2).batches(0) for _ in range(2)]
    assert_same_batches(expected * 2, [b for pair in zip(*both) for b in pair][::2] * 2)


def test_more_workers_than_batches(dataset):
    reader = plain(dataset, [], worker_num=9, batch_size=6)
    assert len(list(reader.batches(0))) == 2


def test_images_beyond_the_slot_travel_through_the_pipe(dataset):
    """A user's transform may enlarge images beyond what the lists promise."""

    class Enlarge:
        def __call__(self, samples, context=None):
            for sample in samples:
                sample["image"] = np.zeros((500, 500, 3), np.uint8)
            return samples

    reader = train_reader(dataset, extra_batch=[Enlarge()], worker_num=1)
    assert next(reader.batches(0))["image"].shape == (3, 3, 500, 500)


LOOP = """
import multiprocessing, sys, time
from pathlib import Path
from tests.data import readers
reader = readers.train_reader(readers.SmallDataset(Path(sys.argv[1])), worker_num=2, batch_size=1)
for batch in reader:
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""


def running_loop(tmp_path, repo, **options):
    """A program whose reader has two workers, and their process ids."""
    program = subprocess.Popen(
        [sys.executable, "-c", LOOP, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(repo)},
        preexec_fn=hear_ctrl_c,
        **options,
    )
    return program, [int(pid) for pid in program.stdout.readline().split()]


def hear_ctrl_c():
    """A test run started in the background of a shell script hands down a deaf ear for SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path, repo, ending):
    program, pids = running_loop(tmp_path, repo)
    assert len(pids) == 2
    assert all(is_alive(pid) for pid in pids)
    program.send_signal(ending)
    program.communicate(timeout=20)
    wait_until_gone(pids)


def test_ctrl_c_reaches_only_the_parent(tmp_path, repo):
    """A terminal sends SIGINT to the whole process group: workers must not print tracebacks."""
    program, pids = running_loop(tmp_path, repo, start_new_session=True)
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=20)
    wait_until_gone(pids)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
