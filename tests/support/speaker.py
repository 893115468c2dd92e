"""A process that says on its standard output, line by line, what it does, and a thread that hears it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


class Speaker:
    """One process of a module of the tests. It never waits for its parent; `hear` gets each whole line, in a thread of its own."""

    def __init__(self, module: str, *arguments: str, hear: Callable[[str], object], group: bool = False) -> None:
        self._hear = hear
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=group,
        )
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                self._hear(line[:-1])

    def end(self, *, kill: bool) -> int:
        """Its exit code, once it has ended, and all that it or its children said has been heard."""
        if kill:
            self.process.kill()
        code = self.process.wait()
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code
