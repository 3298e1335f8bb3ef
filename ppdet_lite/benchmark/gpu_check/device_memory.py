"""Memory that is in use, on the GPU or in this process."""

import subprocess

from ppdet_lite.benchmark.process_memory import resident_bytes

QUERY = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0")


def used_bytes(device: str) -> int:
    """Bytes in use on the first GPU by all processes, or resident bytes of this process."""
    if device != "GPU":
        return resident_bytes() or 0
    answer = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=20)
    return int(answer.stdout.split()[0]) * 2**20
