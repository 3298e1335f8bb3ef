"""The pickle machine: what Paddle and numpy write is read, everything else is refused by name."""

import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.checkpoint import load_resume
from ppdet_lite.weights.files import load_state
from ppdet_lite.weights.pickle_reader import read_pickle

PROTOCOLS = [2, 3, 4, 5]


@pytest.fixture
def read(tmp_path):
    def of(data):
        path = tmp_path / "m.pdparams"
        path.write_bytes(data)
        return read_pickle(str(path))

    return of


def text(content):
    return b"X" + struct.pack("<I", len(content)) + content.encode()


def named(name):
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


# ---- what is read --------------------------------------------------------------------------------

ARRAYS = {
    **{f"{kind}{size}": np.arange(6).reshape(2, 3).astype(f"{kind}{size}")
       for kind, sizes in (("i", "1248"), ("u", "1248"), ("f", "248"), ("c", ("8", "16")))
       for size in sizes},
    "bool": np.array([True, False]),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "transposed": np.arange(24, dtype="i4").reshape(2, 3, 4).T,
    "strided": np.arange(20)[::3],
    "big_endian": np.arange(4).astype(">f4"),
    "zero_dimensions": np.array(2.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.float32(1.25),
    "long": np.arange(5000, dtype=np.uint8) % 251,
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("core", [b"numpy._core", b"numpy.core"])
def test_arrays_of_numpy_1_and_2(read, protocol, core):
    data = pickle.dumps(ARRAYS, protocol=protocol)
    if protocol < 4:  # from 4 on names carry their length
        data = data.replace(b"numpy._core", core).replace(b"numpy.core", core)
    found = read(data)
    assert list(found) == list(ARRAYS)
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(found[key], array, err_msg=key)
        assert found[key].dtype == array.dtype.newbyteorder("="), key
        assert found[key].flags.writeable or key == "scalar"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values(read, protocol):
    values = [
        0,
        255,
        65535,
        -1,
        2**31,
        -(2**40),
        2**63 - 1,
        0.5,
        -1e300,
        True,
        False,
        None,
        "",
        "é",
    ]
    content = {
        "list": values,
        "tuple": (1, (2, 3), (1, 2, 3, 4)),
        "dict": {"a": {}},
        3: [],
        "s": "x" * 300,
    }
    assert read(pickle.dumps(content, protocol=protocol)) == content


def test_a_file_of_python_2(read):
    rows = b"(U\x01aU\x04\x00\x00\x80?tq\x01"  # ("a", "\0\0\x80?"), as text of one byte each
    array = named("numpy.core.multiarray _reconstruct") + b"(" + named("numpy ndarray")
    array += b"K\x00\x85U\x01btR(K\x01K\x01\x85" + named("numpy dtype")
    array += b"(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    whole = b"\x80\x02}(U\x01r" + rows + b"U\x01w" + array + b"U\x04\x00\x00\x80?tbu."
    found = read(whole)
    assert found["r"] == ("a", "\0\0\x80?") and found["w"].tolist() == [1.0]


def test_an_array_that_is_there_twice_is_one_array(read):
    array = np.arange(3000.0)
    found = read(pickle.dumps({"a": array, "b": array}, protocol=4))
    assert found["a"] is found["b"]


# ---- what is refused -----------------------------------------------------------------------------

FLOAT = named("numpy dtype") + text("f4") + b"\x85R"
HEAD = (
    named("numpy.core.multiarray _reconstruct") + named("numpy ndarray") + b"K\x00\x85C\x01b\x87R"
)


def array_of(shape, dtype, data):
    return HEAD + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (named("os system") + text("true") + b"\x85R", "refused.*'os.system'.*byte 9"),
        (text("posix") + text("system") + b"\x93", "refused.*'posix.system'"),
        (named("numpy ndarray") + b"K\x09\x85R", "refused.*a call of numpy.ndarray"),
        (named("builtins bytearray"), "refused.*builtins.bytearray"),
        (named("numpy dtype") + text("O8") + b"\x85R", "refused.*dtype 'O8'"),
        (named("numpy dtype") + text("V16") + b"\x85R", "refused.*dtype 'V16'"),
        (named("numpy dtype") + text("(9,9)f8") + b"\x85R", "refused.*dtype"),
        (FLOAT + b"(K\x03" + text("<") + text("a") + b"\x85NNtb", "refused.*dtype with fields"),
        (array_of(b"K\x03\x85", FLOAT, b"C\x08" + bytes(8)), r"array \[3\] of float32 out of 8"),
        (array_of(b"J\xff\xff\xff\xff\x85", FLOAT, b"C\x04" + bytes(4)), "damaged.*sides"),
        (array_of(b"K\x01\x85", FLOAT, b"]"), "refused.*array of objects"),
        (array_of(b"K\x01\x85", FLOAT.replace(b"f4", b"b1"), b"C\x01\x02"), "truth values"),
        (named("_codecs encode") + text("x") + text("zlib") + b"\x86R", "refused.*_codecs.encode"),
        (named("builtins eval") + text("1+1") + b"}\x86R", "refused.*a call of eval"),
        (text("x") + b"Q", "refused.*opcode BINPERSID"),
        (b"\x82\x01", "refused.*opcode EXT1"),
        (b"(i" + b"os\nsystem\n", "refused.*opcode INST"),
        (b"\x97", "refused.*opcode NEXT_BUFFER"),
        (b"\x8e" + struct.pack("<Q", 2**40), "damaged.*bytes are announced, 2 are left"),
        (b"\x8a\x20" + bytes(32), "refused.*a number of 32 bytes"),
        (b"h\x07", "refers to a value that is not there"),
        (b")" + b"\x85" * 100_000, "refused.*nested containers"),
        (b"]q\x09h\x09a", "refused.*nested containers"),
        (b"]" * 500_000, "refused.*more objects than a model has"),
        (named("numpy ndarray"), "refused.*numpy.ndarray"),
        (HEAD, "refused.*unfinished array"),
    ],
)  # fmt: skip
def test_everything_else_is_refused(read, program, problem):
    with pytest.raises(CheckpointError, match=problem):
        read(b"\x80\x04}" + text("a") + program + b"s.")


def test_deep_tuples_as_keys(read):
    with pytest.raises(CheckpointError, match="refused.*a key that is a tuple"):
        read(b"\x80\x04})" + b"\x85" * 100_000 + b"Ns.")


@pytest.mark.parametrize(
    "table",
    [
        *("abc", [1], {"a": 5}, {"a": {"slices": 5}}, {"a": {"slices": [[1]]}}),
        *({"a": {"slices": ["b"], "OriginShape": 5}}, {"a": {"slices": [], "OriginShape": []}}),
    ],
)
def test_a_table_of_pieces_that_does_not_fit(tmp_path, table):
    path = tmp_path / "m.pdparams"
    path.write_bytes(pickle.dumps({"UnpackBigParamInfor@@": table, "b": np.zeros(4)}))
    with pytest.raises(CheckpointError, match="m.pdparams: UnpackBigParamInfor@@"):
        load_state(str(path))


def test_inputs_that_crashed_or_filled_the_memory(shared_dir):
    for path in sorted((shared_dir / "faults" / "inputs").glob("*.pd*")):
        with pytest.raises(CheckpointError, match=path.name):
            load_state(str(path)) if path.suffix == ".pdparams" else load_resume(str(path))


_PEAK = """
import sys
from ppdet_lite.core.errors import CheckpointError
from ppdet_lite.weights.files import load_state
of = lambda key: next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key))
before = of("VmRSS")
try:
    load_state(sys.argv[1])
except CheckpointError:
    pass
print((of("VmHWM") - before) << 10)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
@pytest.mark.parametrize(
    "body",
    [
        b"]" * 4_000_000,
        b"}" * 4_000_000,
        b"(" * 4_000_000,
        b"].K\x01".replace(b".", b"q\0") + b"h\0" * 2_000_000,
        b"".join(b"r" + struct.pack("<I", 7919 * n) for n in range(400_000)),
        b"".join(text("é\U0001f600" * 20) for _ in range(60_000)),
        text("\U0001f600" + "a" * 4_000_000) * 2,
        named("numpy dtype") + text("f4") + b"\x85R" + b"0" * 0 + (b"C\x08" + bytes(8)) * 500_000,
        pickle.dumps({"w": np.zeros(2_000_000)}, protocol=2)[2:-1],
    ],
    ids="lists dicts marks memo far_memo texts wide_texts dtypes array".split(),
)  # fmt: skip
def test_memory_is_bounded_by_the_size_of_the_file(tmp_path, repo, body):
    path = tmp_path / "m.pdparams"
    path.write_bytes(b"\x80\x04" + (body if body[:1] in b"]}(c" else b"}" + body) + b".")
    command = [sys.executable, "-c", _PEAK, str(path)]
    peak = int(subprocess.run(command, cwd=repo, check=True, capture_output=True).stdout)
    assert peak < 2 * path.stat().st_size + 200e6
