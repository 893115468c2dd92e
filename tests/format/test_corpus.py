"""The fuzzer's targets (fuzz/) on its seeds, on small changes of them, and on all that it ever found (corpus/)."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from ferrokv.local.format import blocks, commits, edits, filters, tables

from .fuzz.seeds import make_seeds
from .fuzz.targets import TARGETS, mended

CORPUS = Path(__file__).parent / "corpus"
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_that_the_fuzzer_found_is_a_result_or_a_named_error(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_is_near_them_are_a_result_or_a_named_error(name: str) -> None:
    random = Random(name)
    seeds = [*make_seeds().get(name, []), b"", random.randbytes(600)]
    for seed in seeds:
        TARGETS[name](seed)
        for _ in range(200):
            changed = bytearray(seed)
            for _ in range(random.randrange(1, 4)):
                if changed:
                    changed[random.randrange(len(changed))] = random.choice(
                        (0, 1, 127, 128, 255, random.randrange(256))
                    )
            TARGETS[name](bytes(changed[: random.randrange(len(changed) + 1)] if random.random() < 0.2 else changed))


def test_the_seeds_get_through_to_the_end() -> None:
    """A target whose seeds are refused at once fuzzes nothing."""
    seeds = make_seeds()
    for payload in seeds["commit"]:
        assert len(commits.decode_commit(payload[1:], payload[0], 1)) == 3
    assert len(edits.decode_edit(seeds["edit"][0][1:], seeds["edit"][0][0]).added) == 2
    blocks.verify_block(mended(seeds["block"][0]), 0)
    assert len(tables.decode_index(mended(seeds["index"][0]), 0).last_keys) == 2
    assert filters.decode_filter(mended(seeds["filter"][0]), 0)
