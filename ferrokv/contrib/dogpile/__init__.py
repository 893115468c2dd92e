"""dogpile.cache: a persistent backend whose mutexes work across threads and processes.

::

    from dogpile.cache import make_region

    region = make_region().configure("ferrokv", expiration_time=300, arguments={"path": "./cache"})

See docs/sqlalchemy.md.
"""

from .backend import FerroKVBackend

__all__ = ["FerroKVBackend"]
