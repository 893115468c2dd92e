"""Test suites of the libraries that the adapters serve, from the source distributions of the installed versions.

They are not in the wheels, so pip fetches each sdist once; it is kept beside the environment that it belongs to.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path


def upstream_tests(package: str) -> Path:
    """The `tests` folder of the sdist of an installed package."""
    release = version(package)
    home = Path(sys.prefix) / "share" / "ferrokv-tests"
    unpacked = home / f"{package}-{release}"
    if not unpacked.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package]
            subprocess.run([*command, "--dest", folder, f"{package}=={release}"], check=True)
            archive = next(Path(folder).glob("*.tar.gz"))
            with tarfile.open(archive) as tar:
                # Debian's 3.11.2 is older than the filters; this is how tarfile's documentation bridges that.
                tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
                tar.extractall(folder)
            next(path for path in Path(folder).iterdir() if path.is_dir()).rename(unpacked)
    return unpacked / "tests"
