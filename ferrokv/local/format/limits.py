"""The stated limits (docs/format.md section 8), and the check that callers run before anything is queued."""

from __future__ import annotations

from typing import Final

KEY_BYTES_MAX: Final = 65_535
VALUE_BYTES_MAX: Final = 64 << 20
BATCH_BYTES_MAX: Final = 64 << 20
# What one command, batch or transaction may write, and what it may read in ranges, while everybody else waits for its turn at
# writing to end: about a second at most (benchmarks/turns.py).
BATCH_RECORDS_MAX: Final = 1 << 17
TURN_RECORDS_MAX: Final = BATCH_RECORDS_MAX
ARGUMENTS_MAX: Final = 1 << 20
TRANSACTION_BYTES_MAX: Final = BATCH_BYTES_MAX + (1 << 20)  # the largest value, and a key and more beside it
KEYSPACE_NAME_BYTES_MAX: Final = 255
# A frame takes one batch of the largest size with the heads of its records, and an internal key's prefix each.
FRAME_PAYLOAD_BYTES_MAX: Final = 1 << 27
NEVER: Final = (1 << 64) - 1  # "highest expiry" of a table or block in which some record never expires
EXPIRY_MS_MAX: Final = (1 << 63) - 1
LEVELS: Final = 7
WAL_BYTES_MAX: Final = (1 << 32) - 1
# What a file may say, with so much room to count on that nothing ever runs over: a file's number stands in a name of up to 18
# digits, a generation holds a seqno and 20 bits (section 4), and an id of a keyspace has four bytes.
NUMBER_MAX: Final = 10**17
SEQNO_MAX: Final = (1 << 44) - (1 << 32)
KEYSPACE_ID_MAX: Final = (1 << 32) - 2
FILE_BYTES_MAX: Final = 1 << 62
