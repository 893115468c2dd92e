"""For tests: a machine in memory whose disk can lose power, and pytest fixtures for programs that use a store.

`SimulatedStorage` is the disk on which ferrokv's own engine is tested; use it to test code that performs storage requests. The
fixtures are in `ferrokv.testing.fixtures`: put `pytest_plugins = ["ferrokv.testing.fixtures"]` into the conftest.py at the root.
"""

from __future__ import annotations

from .simulated import Machine, PowerCut, ProcessKilled, SimulatedFile, SimulatedStorage

__all__ = ["Machine", "PowerCut", "ProcessKilled", "SimulatedFile", "SimulatedStorage"]
