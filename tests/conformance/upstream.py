"""Django's own test suites, from the source distribution of the installed version.

They are not in the wheel, so pip fetches the sdist once; it is kept beside the environment that it belongs to.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django


def django_tests() -> Path:
    """The `tests` folder of the installed Django's sdist."""
    version = django.get_version()
    home = Path(sys.prefix) / "share" / "ferrokv-tests"
    tests = home / f"django-{version}" / "tests"
    if not tests.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            subprocess.run([*command, "--dest", folder, f"django=={version}"], check=True)
            archive = next(Path(folder).glob("*.tar.gz"))
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            unpacked = next(path for path in Path(folder).iterdir() if path.is_dir())
            unpacked.rename(home / f"django-{version}")
    return tests
