"""What a program shows on a terminal."""

import os
import struct
import subprocess
import sys

import pytest


def shown_on_terminal(script: str, repo, columns: int = 0) -> str:
    """Runs Python code on a terminal of so many columns; returns everything that it printed."""
    pty, fcntl = pytest.importorskip("pty"), pytest.importorskip("fcntl")
    import termios

    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    command = [sys.executable, "-W", "ignore", "-c", script]
    streams = {"stdin": inside, "stdout": inside, "stderr": inside}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **streams)
    os.close(inside)
    output = b""
    try:
        while chunk := os.read(terminal, 1000):
            output += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(terminal)
    process.wait()
    return output.decode()
