"""The local backend: a store in a directory of this machine. docs/architecture.md is the map."""

from __future__ import annotations

import logging

# A library stays silent unless the program asks for its log.
logging.getLogger("ferrokv").addHandler(logging.NullHandler())
