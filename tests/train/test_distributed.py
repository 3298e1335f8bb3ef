"""Two processes on one CPU (gloo): the same as one process with both halves of the batch."""

import os
import pickle
import subprocess
import sys

import numpy as np
import paddle
import pytest

from ppdet_lite.weights.checkpoint import load_resume

_SCRIPT = '''
import os, pickle, signal, sys
import numpy as np, paddle
sys.path.insert(0, sys.argv[1])
from tests import toys
from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.hooks.saving import CheckpointHook, CheckpointWriter
from ppdet_lite.train.hooks.finite_check import FiniteCheckHook
from ppdet_lite.device.ranks import init_ranks
from ppdet_lite.train.seed import set_seed

paddle.set_device("cpu")
ranks = init_ranks()
assert ranks.world_size == 2
drawn = set_seed(None, ranks)
folder, rank = sys.argv[2], ranks.rank


class Share(toys.ToyReader):
    """Batches rank, rank + 2, ... of the toy reader."""

    def __len__(self):
        return self.count // 2

    def batches(self, epoch, start=0):
        every = list(super().batches(epoch))
        yield from every[rank::2][start:]


class InterruptRank1(Hook):
    def after_step(self, run, record):
        if rank == 1 and run.state.iteration == 4:
            os.kill(os.getpid(), signal.SIGINT)


def without_batch_effects(trainer):
    trainer.state.model.dropout.p = 0.0
    trainer.state.model.norm._use_global_stats = True
    return trainer


results = {"seed": drawn}
for name, accumulate in (("plain", 1), ("accumulated", 2)):
    reader = Share(count=8)
    trainer = without_batch_effects(
        toys.make_trainer([FiniteCheckHook()], 2, 5, accumulate, reader, ranks=ranks)
    )
    trainer.run()
    results[name] = {k: v.numpy() for k, v in trainer.state.model.state_dict().items()}

# Statistics that differ between the processes: rank 0's are the ones evaluated.
trainer.state.model.norm._mean.set_value(np.full(4, float(rank), "float32"))
trainer.state.ema = None
with trainer.state.evaluation_weights() as model:
    results["evaluated"] = model.norm._mean.numpy()
results["restored"] = trainer.state.model.norm._mean.numpy()

saving = CheckpointHook(CheckpointWriter(folder, {}), 1)
trainer = toys.make_trainer([saving, InterruptRank1()], 9, reader=Share(count=6), ranks=ranks)
try:
    trainer.run()
except KeyboardInterrupt:
    results["stopped_at"] = trainer.state.iteration
pickle.dump(results, open(os.path.join(folder, f"rank{rank}.pkl"), "wb"))
'''


_ONE_DIES = """
import os, signal, sys
import paddle
sys.path.insert(0, sys.argv[1])
from tests import toys
from ppdet_lite.device.ranks import init_ranks
from ppdet_lite.train.hooks.base import Hook
from ppdet_lite.train.hooks.saving import CheckpointHook, CheckpointWriter

paddle.set_device("cpu")
ranks = init_ranks()


class Die(Hook):
    def before_update(self, run, record):
        if ranks.rank == 1 and run.state.iteration == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)


hooks = [Die(), CheckpointHook(CheckpointWriter(sys.argv[2], {}), 100)]
toys.make_trainer(hooks, 9, reader=toys.ToyReader(6), ranks=ranks).run()
"""


def launched(script_text, repo, tmp_path, *arguments):
    """Runs a script in two processes."""
    if paddle.is_compiled_with_cuda():
        pytest.skip("a Paddle built for GPUs starts one process per GPU; this is the CPU's test")
    script = tmp_path / "script.py"
    script.write_text(script_text)
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    command += ["--log_dir", tmp_path / "logs", script, repo, tmp_path, *arguments]
    try:
        result = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        pytest.skip("two gloo processes did not finish within 120 s on this machine")
    output = result.stdout + result.stderr
    if "gloo" in output.lower() and "not compiled" in output.lower():
        pytest.skip("this Paddle has no gloo, which distributed training on a CPU needs")
    return result.returncode, output


@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_two_processes(toys, repo, tmp_path):
    code, output = launched(_SCRIPT, repo, tmp_path)
    assert code == 0, output[-3000:]
    ranks = [pickle.loads((tmp_path / f"rank{rank}.pkl").read_bytes()) for rank in (0, 1)]

    assert ranks[0]["seed"] == ranks[1]["seed"]
    alone = {}
    for name, accumulate in (("plain", 2), ("accumulated", 4)):
        trainer = toys.trainer(
            epochs=2, seed=5, accumulate_steps=accumulate, reader=toys.reader(count=8)
        )
        trainer.state.model.dropout.p = 0.0
        trainer.state.model.norm._use_global_stats = True
        trainer.run()
        alone[name] = {k: v.numpy() for k, v in trainer.state.model.state_dict().items()}
        for key, value in alone[name].items():
            np.testing.assert_array_equal(ranks[0][name][key], ranks[1][name][key])
            np.testing.assert_allclose(ranks[0][name][key], value, atol=1e-6, err_msg=key)
    assert not np.allclose(alone["plain"]["conv.weight"], alone["accumulated"]["conv.weight"])

    assert [r["evaluated"].tolist() for r in ranks] == [[0.0] * 4, [0.0] * 4]
    assert [r["restored"].tolist() for r in ranks] == [[0.0] * 4, [1.0] * 4]
    assert ranks[0]["stopped_at"] == ranks[1]["stopped_at"] in (4, 5)
    saved = sorted(p.name for p in tmp_path.glob("interrupted*"))
    assert saved == ["interrupted.meta.json", "interrupted.pdopt", "interrupted.pdparams"]


def test_when_a_process_dies_the_last_finished_step_is_saved(repo, tmp_path):
    code, _ = launched(_ONE_DIES, repo, tmp_path, 3)
    log = (tmp_path / "logs" / "workerlog.0").read_text()
    assert code != 0
    assert "another process of this run has ended" in log
    state = load_resume(str(tmp_path / "interrupted"))
    assert state["progress"]["iteration"] in (3, 4)  # rank 0 may be one step ahead
