"""Which stages a run has follows from its settings."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import RunConfig, override
from pipeline.errors import InputError
from pipeline.plan import BEST, order_of, stages_of, trains
from pipeline.presets import PRESETS, preset


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["embeddings", "components", "clusters", "query", "report"]),
        ({"embed.space": "features"}, ["embeddings", "clusters", "query", "report"]),
        ({"embed.features": "moco"}, ["pretrain", "embeddings", "components", "clusters", "query", "report"]),
        (
            {"embed.features": "a.npy", "query.order": "coreset"},
            ["embeddings", "components", "clusters", "query", "report"],
        ),
        (
            {"query.order": "hard-to-contrast"},
            ["pretrain", "embeddings", "components", "clusters", "query", "report"],
        ),
    ],
)
def test_a_stage_that_nobody_asks_for_is_not_run(settings: dict[str, Any], expected: list[str]) -> None:
    config = override(preset("default"), settings)
    assert [kind.stage for kind in stages_of(config)] == expected
    assert trains(config) == ("pretrain" in expected)


@pytest.mark.parametrize("name", sorted({*PRESETS} - {"default"}))
def test_the_papers_presets_are_the_paper(name: str) -> None:
    config = preset(name)
    assert trains(config) and order_of(config).name == "hard-to-contrast"
    assert (config.embed.features, config.embed.space) == ("moco", "features")
    assert [kind.stage for kind in stages_of(config)] == ["pretrain", "embeddings", "clusters", "query", "report"]


def test_auto_is_the_best_measured_order_on_features() -> None:
    chosen = order_of(override(RunConfig(), {"query.order": "auto"}))
    assert chosen.name == BEST and chosen.nests and chosen.needs == ("features",)
    with pytest.raises(InputError, match="There is no order 'autoo'"):
        order_of(override(RunConfig(), {"query.order": "autoo"}))
