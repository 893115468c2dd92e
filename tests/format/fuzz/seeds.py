"""Sound inputs for the targets, from which the fuzzer begins: what the encoders make."""

from __future__ import annotations

from array import array

from ferrokv.contrib.codecs.envelopes import Guard, seal_in
from ferrokv.local.format import blocks, commits, edits, filters, tables
from ferrokv.local.format.checksums import hash_key
from ferrokv.local.format.keys import CATALOGUE_NAMES, CATALOGUE_NEXT_ID, CATALOGUE_QUOTAS
from ferrokv.local.format.roots import HASH, RootFields

from .targets import CODECS

ROOT = RootFields(HASH, 1 << 20, 1, 1, 0).encode()
META = edits.TableMeta(3, 1, 4096, 10, 2, 1, 9, 0, 1 << 50, 77, b"\0\0\0\1ka", b"\0\0\0\1kz")


def make_seeds() -> dict[str, list[bytes]]:
    """Target -> inputs."""
    writes = {b"\0\0\0\1ka": (b"value", 0), b"\0\0\0\1kb": (None, 0), b"\0\0\0\1kc": (ROOT, 1 << 40)}
    catalogue = {
        CATALOGUE_NAMES + b"name": (b"\0\0\0\2", 0),
        CATALOGUE_NEXT_ID: (b"\0\0\0\3", 0),
        CATALOGUE_QUOTAS + b"name": (bytes(8), 0),
    }
    payloads = [b"\3" + commits.encode_commit(writes), b"\3" + commits.encode_commit(catalogue)]
    entries = [(value, expiry, 0, None) for value, expiry in writes.values()]
    tags = bytes(hash_key(key) & 255 for key in writes)
    count, edit = edits.encode_edit(edits.Edit((META, META._replace(number=4, level=0)), (), 5, 6, 7))
    words = array("Q", bytes(8 * filters.word_count(3)))
    filters.add_hashes(words, map(hash_key, writes))
    frame = b"\1" + bytes((len(payloads[0]) - 1,)) + b"\3\0" + payloads[0][1:]
    guard = Guard(b"e" * 8, ((b"t:tag", b"t" * 8),))
    return {
        "commit": payloads,
        "frames": [frame * 2, frame + b"FKVF"],
        "edit": [bytes((count,)) + edit],
        "block": [blocks.encode_block(list(writes), entries, tags, 0)],
        "index": [tables.encode_index(tables.Index((0, 10, 20), (5, 6), list(writes)[:2]), 0)],
        "filter": [filters.encode_filter(words, 0)],
        "root": [bytes(ROOT)],
        "envelope": [seal_in(b"-5", 1 << 40, guard)[1:], seal_in(b"-5", None, guard)[1:]],
        "value": [codec.encode({"a": ["b" * 2000]})[2:] for codec in CODECS] + [b"-123"],
        "presence": [b"123 1700000000000 python"],
    }
