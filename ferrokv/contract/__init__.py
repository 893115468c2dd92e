"""The client contract: what a program or an adapter may rely on, whatever keeps the data.

A **backend** keeps keyspaces somewhere; `ferrokv.local` keeps them in a directory of this machine.
A **handle** serves one keyspace, for asyncio or for threads. Programs get one from
`ferrokv.connect(location)` or `ferrokv.connect_blocking(location)`.

- `commands.py` lists the commands, and says which keys each of them touches.
- `aio/` and `blocking/` say how a handle is called: Protocols for the commands, stores, locks,
  pipelines, snapshots, and the watching of keys. `aio/cache.py` is the part that the adapters need,
  so a backend that has only that much can already serve them.
- `transactions.py`, `deferrals.py` and `queued.py` are the Protocols that both kinds share.
- `capabilities.py` names what a backend may lack.
- `encoding.py`, `limits.py` and `batch.py` are the same for all backends: what may be a key or a
  value, how large it may be, and how it becomes bytes.

`tests/contract/` runs the same tests against each backend.
"""
