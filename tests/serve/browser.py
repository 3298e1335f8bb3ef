"""Headless Chromium, driven through its DevTools protocol over a pipe."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_SECONDS = 30


class Browser:
    """A page in a browser; use as a context.

    Args:
        size: width and height of the window.
    """

    def __init__(self, size=(1280, 820)):
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if program is None:
            pytest.skip("needs Chromium (the package chromium of the distribution)")
        self._profile = tempfile.mkdtemp(prefix="browser_")
        # It reads commands from file 3 and writes answers to file 4.
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        options = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"]
        options += ["--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars"]
        options += ["--disable-background-networking", "--disable-component-update"]
        options += [f"--user-data-dir={self._profile}", "about:blank"]
        high = [os.dup(end) for end in (commands, answers)]  # not overwritten by each other
        command = 'exec "$@" 3<&{} 4>&{}'.format(*high)
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", program, *options],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (commands, answers, *high):
            os.close(end)
        self._read, self._count, self._session, self._events = b"", 0, None, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **screen)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(10)
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    @property
    def complaints(self):
        """Exceptions in the page, and errors in its log, until now."""
        self.run("0")
        thrown = [one["params"] for one in self._events if one["method"].endswith("Thrown")]
        logged = [
            one["params"]["entry"] for one in self._events if one["method"] == "Log.entryAdded"
        ]
        return thrown + [entry for entry in logged if entry["level"] == "error"]

    def ask(self, method, **parameters):
        """The result of a command."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._read:
                block = os.read(self._from, 1 << 16)
                assert block, "the browser has gone"
                self._read += block
            text, _, self._read = self._read.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._events.append(answer)

    def open(self, address):
        self.ask("Page.navigate", url=address)

    def run(self, script):
        """The value of an expression in the page."""
        parameters = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self.ask("Runtime.evaluate", **parameters)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script):
        """The value of an expression once it is true."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script}; {self._events[-5:]}"
            time.sleep(0.02)
        return value

    def middle(self, selector):
        """Position of an element on the screen."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        return self.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")

    def drop(self, selector, *paths):
        """Drops files onto an element."""
        x, y = self.middle(selector)
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.ask("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            mouse = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.ask("Input.dispatchMouseEvent", **mouse)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))
