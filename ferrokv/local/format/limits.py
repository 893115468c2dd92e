"""The limits of the format beyond those of the contract (docs/format.md section 8)."""

from __future__ import annotations

from typing import Final

from ...contract.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX

# How many records one command may read in ranges, while all other writers wait.
TURN_RECORDS_MAX: Final = BATCH_RECORDS_MAX
ARGUMENTS_MAX: Final = 1 << 20
TRANSACTION_BYTES_MAX: Final = BATCH_BYTES_MAX + (1 << 20)  # fits the largest value, its key and some more
# A frame fits a batch of the largest size, plus the head and the internal key prefix of each
# record.
FRAME_PAYLOAD_BYTES_MAX: Final = 1 << 27
NEVER: Final = (1 << 64) - 1  # the highest expiry of a table or block in which some record never expires
LEVELS: Final = 7
WAL_BYTES_MAX: Final = (1 << 32) - 1
# The largest values that decoders accept. They leave so much room for counting on that nothing ever
# overflows: the number in a file name has up to 18 digits, a generation holds a seqno and 20 more
# bits (section 4), and a keyspace id has four bytes.
NUMBER_MAX: Final = 10**17
SEQNO_MAX: Final = (1 << 44) - (1 << 32)
KEYSPACE_ID_MAX: Final = (1 << 32) - 2
FILE_BYTES_MAX: Final = 1 << 62
