"""Memory and folder stores: what goes in comes out, budgets hold, several processes fill one."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ppdet_lite.data.cache.stores import FolderStore, MemoryStore


@pytest.fixture(params=["memory", "folder"])
def make_store(request, tmp_path):
    def make(budget, entries=100):
        if request.param == "memory":
            return MemoryStore(budget, entries)
        return FolderStore(budget, tmp_path / "cache")

    return make


def forked(work, *arguments):
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def test_what_goes_in_comes_out(make_store):
    store = make_store(1000)
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert store.get("a.jpg") is None
    assert store.put("a.jpg", [b"head", image])
    assert store.put("b.jpg", [b""])
    content = store.get("a.jpg")
    assert content.dtype == np.uint8 and content.tobytes() == b"head" + image.tobytes()
    assert store.get("b.jpg").tobytes() == b""
    assert (store.used, store.count) == (28, 2)
    with pytest.raises(ValueError, match="read-only"):
        content[0] = 1


def test_a_key_is_kept_once(make_store):
    store = make_store(1000)
    assert store.put("a", [b"12345"]) and store.put("a", [b"12345"])
    assert (store.used, store.count) == (5, 1)


def test_the_budget_holds(make_store):
    store = make_store(10)
    assert store.put("a", [b"1234567"])
    assert not store.put("b", [b"1234"])
    assert store.put("c", [b"123"])
    assert not store.put("d", [b"1"])
    assert (store.used, store.count) == (10, 2)
    assert store.get("b") is None and store.get("c").tobytes() == b"123"


def test_children_fill_it_for_all(make_store):
    store = make_store(100_000, 300)

    def fill(child):
        for number in range(100):
            store.put(f"{number}", [b"x" * number])  # the same keys in every child
            store.put(f"{child}-{number}", [bytes([child]) * 5])

    children = [forked(fill, child) for child in range(2)]
    for process in children:
        process.join(20)
        assert process.exitcode == 0
    for number in range(100):
        assert store.get(f"{number}").tobytes() == b"x" * number
        assert store.get(f"1-{number}").tobytes() == b"\1" * 5
    assert (store.used, store.count) == (sum(range(100)) + 1000, 300)


def test_a_killed_writer_leaves_no_half_entry_and_no_lock(make_store):
    store = make_store(2**27)

    def write_for_ever():
        for number in range(10**6):
            store.put(f"{number}", [bytes([number % 251]) * 50_000])

    process = forked(write_for_ever)
    deadline = time.monotonic() + 10
    while store.count < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    count = store.count
    assert count >= 5
    for number in range(count):
        content = store.get(f"{number}")
        assert content is None or content.tobytes() == bytes([number % 251]) * 50_000
    assert store.put("after", [b"it"]) and store.get("after").tobytes() == b"it"


def test_many_keys_and_more_than_expected():
    store = MemoryStore(2**20, 50)
    kept = [key for key in map(str, range(1000)) if store.put(key, [key.encode()])]
    assert 50 <= len(kept) < 1000
    assert all(store.get(key).tobytes() == key.encode() for key in kept)
    assert store.get("999") is None


def test_another_run_finds_the_folder_and_counts_it(tmp_path):
    FolderStore(100, tmp_path).put("a", [b"12345"])
    later = FolderStore(8, tmp_path)
    assert (later.used, later.count) == (5, 1)
    assert later.get("a").tobytes() == b"12345"
    assert not later.put("b", [b"1234"])


@pytest.mark.parametrize("damage", [b"", b"12", b"\0" * 9, b"x" * 500])
def test_a_damaged_entry_is_as_none_and_is_replaced(tmp_path, damage):
    store = FolderStore(1000, tmp_path)
    store.put("a", [b"12345"])
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(damage)
    assert store.get("a") is None
    assert store.put("a", [b"12345"]) and store.get("a").tobytes() == b"12345"
    assert FolderStore(1000, tmp_path).used == 5


def test_one_flipped_bit_is_found(tmp_path):
    store = FolderStore(1000, tmp_path)
    store.put("a", [bytes(100)])
    (entry,) = tmp_path.iterdir()
    content = bytearray(entry.read_bytes())
    for position in range(len(content)):
        content[position] ^= 8
        entry.write_bytes(content)
        assert store.get("a") is None
        content[position] ^= 8


def test_an_entry_that_cannot_be_opened_is_as_none(tmp_path):
    store = FolderStore(1000, tmp_path)
    store.put("a", [b"1"])
    (entry,) = tmp_path.iterdir()
    entry.unlink()
    entry.mkdir()
    assert store.get("a") is None
    with pytest.raises(OSError):
        store.put("a", [b"1"])
    assert [path.name for path in tmp_path.iterdir()] == [entry.name]


def test_threads_and_two_runs_fill_one_folder(tmp_path):
    stores = [FolderStore(10**6, tmp_path) for _ in range(2)]

    def fill(worker):
        for number in range(60):
            store, content = stores[worker % 2], bytes([number]) * 1000
            assert store.put(f"{number}", [content])
            assert store.get(f"{number}").tobytes() == content

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fill, range(8)))
    later = FolderStore(10**6, tmp_path)
    assert (later.used, later.count) == (60_000, 60)
    assert not list(tmp_path.glob("*.tmp"))


def test_leftovers_of_killed_writers_go_those_of_running_ones_stay(tmp_path):
    old, new, other = (tmp_path / name for name in ("a.pixels.tmp", "b.pixels.tmp", "c.tmp"))
    for path in (old, new, other):
        path.write_bytes(b"")
    for path in (old, other):
        os.utime(path, (time.time() - 4000,) * 2)
    FolderStore(10, tmp_path)
    assert sorted(tmp_path.iterdir()) == [new, other]


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    store = FolderStore(100, tmp_path)

    def no_space(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="No space left"):
        store.put("a", [b"123"])
    assert list(Path(tmp_path).iterdir()) == []
    assert (store.used, store.count) == (0, 0)
