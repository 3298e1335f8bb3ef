"""Memory of the batches in flight: what is tried, and what is said when it cannot be had."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.data.cache import shared_memory
from ppdet_lite.data.cache.shared_memory import available_bytes, batch_slots
from tests.data import readers
from tests.data.readers import train_reader

MEGABYTE = 2**20


def failing_above(monkeypatch, limit):
    """Lets the system refuse more than `limit` bytes in all."""
    given = []
    original = shared_memory.shared_bytes

    def refuse(count):
        if sum(given) + count > limit:
            given.clear()
            raise OSError(12, "Cannot allocate memory")
        given.append(count)
        return original(count)

    monkeypatch.setattr(shared_memory, "shared_bytes", refuse)


def test_two_slots_per_worker_without_a_word():
    said = []
    slots = batch_slots(3, 1000, said.append)
    assert [[slot.nbytes for slot in own] for own in slots] == [[1000, 1000]] * 3
    assert said == []


def test_slots_are_shared_with_children():
    (((first, _),),) = (batch_slots(1, 10, pytest.fail),)
    pid = os.fork()
    if pid == 0:
        first[3] = 77
        os._exit(0)
    os.waitpid(pid, 0)
    assert first[3] == 77


def test_one_slot_per_worker_when_two_cannot_be_had(monkeypatch):
    failing_above(monkeypatch, 5 * MEGABYTE)
    said = []
    slots = batch_slots(2, 2 * MEGABYTE, said.append)
    assert [len(own) for own in slots] == [1, 1]
    (line,) = said
    assert "no 8 MB" in line and "(Cannot allocate memory): 1 each instead" in line


def test_pipes_when_none_can_be_had(monkeypatch):
    monkeypatch.setattr(shared_memory, "available_bytes", lambda: 3 * MEGABYTE)
    said = []
    assert batch_slots(2, 2 * MEGABYTE, said.append) == [[], []]
    (line,) = said
    assert "no 8 MB" in line and "(only 3 MB of memory are free): they go through pipes" in line


@pytest.mark.parametrize("slots_that_fit", [1, 0])
def test_same_batches_with_less_shared_memory(dataset, monkeypatch, caplog, slots_that_fit):
    wanted = list(train_reader(dataset).batches(0))
    slot = train_reader(dataset).plan.largest_pixels() * 3 * 3
    failing_above(monkeypatch, 2 * slots_that_fit * slot)
    reader = train_reader(dataset, worker_num=2)
    with caplog.at_level(logging.WARNING):
        readers.assert_same_batches(wanted, reader.batches(0))
        list(reader.batches(1))
    said = [record.message for record in caplog.records if "shared memory" in record.message]
    assert len(said) == 1  # found before the first batch, said once for all epochs
    assert ("1 each" if slots_that_fit else "pipes") in said[0]


LIMITED = """
import logging, resource, sys
from pathlib import Path
from tests.data import readers
logging.basicConfig(format="%(message)s")
reader = readers.train_reader(readers.SmallDataset(Path(sys.argv[1])), worker_num=2)
reader.plan.largest_pixels = lambda: 2**28  # as if images of 16384 x 16384 were in the list
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
limit = int(status["VmSize"].split()[0]) * 1024 + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(len(list(reader.batches(0))))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_memory_limit_of_the_process(tmp_path, repo):
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(repo), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "4\n", done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "they go through pipes instead" in done.stderr


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_available_memory_is_the_smallest_limit(tmp_path):
    assert available_bytes(tmp_path) is None
    write(tmp_path, {"proc/meminfo": "MemTotal: 900 kB\nMemAvailable:   500 kB\n"})
    assert available_bytes(tmp_path) == 500 * 1024
    write(
        tmp_path,
        {
            "sys/fs/cgroup/memory.max": "400000\n",
            "sys/fs/cgroup/memory.current": "350000\n",
            "sys/fs/cgroup/memory.stat": "anon 100\ninactive_file 20000\n",
        },
    )
    assert available_bytes(tmp_path) == 70_000
    write(tmp_path, {"sys/fs/cgroup/memory.max": "max\n"})
    assert available_bytes(tmp_path) == 500 * 1024
    write(
        tmp_path,
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "100000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "99000\n",
        },
    )
    assert available_bytes(tmp_path) == 1000


def test_this_machine_tells():
    if not Path("/proc/meminfo").exists():
        pytest.skip("needs Linux")
    assert available_bytes() > MEGABYTE
    np.testing.assert_array_equal(shared_memory.shared_bytes(3), 0)
