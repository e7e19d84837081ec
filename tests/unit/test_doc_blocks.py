"""The pages' Python runs as it stands; what starts Ray is in tests/slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doc_blocks import PAGES, blocks, run_block

pytestmark = pytest.mark.slow

HERE = blocks(on_ray=False)


@pytest.mark.parametrize("place", HERE)
def test_a_block_runs(place: str, tmp_path: Path) -> None:
    run_block(place, HERE[place], tmp_path)


def test_every_page_has_a_block() -> None:
    assert {place.partition(":")[0] for place in HERE | blocks(on_ray=True)} == {*PAGES}
