"""Pages of the UI in a real browser: how long from asking for one until it shows what it should."""

import base64
import io
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import image
from websockets.sync.client import connect
from websockets.sync.connection import Connection

LIMIT_SECONDS = 120.0
LOOK_SECONDS = 0.1
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
    "--window-size=1600,1200",
)  # fmt: skip
COLOURFUL = 0.3
"""Difference of a pixel's largest and smallest part, of 1, from which it is no shade of grey."""
DRAWN = 0.002
"""Share of such pixels in the graph from which its bars are there."""
GRAPH = """(() => {
  const r = document.querySelector('canvas')?.getBoundingClientRect();
  return r ? JSON.stringify({x: r.x, y: r.y, width: r.width, height: r.height, scale: 1}) : '';
})()"""


class Loaded(NamedTuple):
    """Seconds until a run's page told its numbers, and until its graph was drawn; none: never."""

    told: float | None
    drawn: float | None
    tasks: int


class Browser:
    """One tab of a headless Chromium."""

    def __init__(self, line: Connection) -> None:
        self._line, self._asked = line, 0

    def load(self, url: str) -> Loaded:
        """Open a flow run's page and wait for its number of task runs, and for its graph."""
        self._ask("Page.navigate", url="about:blank")
        started = time.monotonic()
        self._ask("Page.navigate", url=url)
        told, tasks = self._when(started, self._count)
        drawn, _ = self._when(started, self._bars)
        return Loaded(told, drawn, int(tasks or 0))

    def _when(self, started: float, look: Callable[[], object]) -> tuple[float | None, "Any"]:
        while time.monotonic() - started < LIMIT_SECONDS:
            if seen := look():
                return time.monotonic() - started, seen
            time.sleep(LOOK_SECONDS)
        return None, None

    def _count(self) -> int:
        found = re.search(r"(\d+) Task runs", self._evaluate("document.body?.innerText ?? ''"))
        return int(found.group(1)) if found else 0

    def _bars(self) -> bool:
        place = self._evaluate(GRAPH)
        if not place:
            return False
        shot = self._ask("Page.captureScreenshot", clip=json.loads(place))
        pixels = np.asarray(image.imread(io.BytesIO(base64.b64decode(shot["data"]))))[..., :3]
        colourful = pixels.max(-1) - pixels.min(-1) > COLOURFUL
        return bool(colourful.mean() > DRAWN)

    def _evaluate(self, expression: str) -> str:
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return str(answer["result"].get("value", ""))

    def _ask(self, method: str, **given: object) -> dict[str, Any]:
        self._asked += 1
        self._line.send(json.dumps({"id": self._asked, "method": method, "params": given}))
        while True:
            answer: dict[str, Any] = json.loads(self._line.recv(timeout=LIMIT_SECONDS))
            if answer.get("id") == self._asked:
                result: dict[str, Any] = answer.get("result", {})
                return result


@contextmanager
def browser() -> Iterator[Browser | None]:
    """Run Chromium; yield a tab of it, or nothing where there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        yield None
        return
    profile = Path(tempfile.mkdtemp(prefix="browser-"))
    words = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_tab(profile), max_size=None) as line:
            yield Browser(line)
    finally:
        child.terminate()
        child.wait()
        shutil.rmtree(profile, ignore_errors=True)


def _tab(profile: Path) -> str:
    """Return the address of the one tab, once the browser has said its port."""
    said, deadline = profile / "DevToolsActivePort", time.monotonic() + LIMIT_SECONDS
    while not (said.exists() and said.read_text().strip()):
        if time.monotonic() > deadline:
            raise RuntimeError("Chromium does not start")
        time.sleep(LOOK_SECONDS)
    port = said.read_text().split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
        tabs = json.load(answer)
    return next(str(tab["webSocketDebuggerUrl"]) for tab in tabs if tab["type"] == "page")
