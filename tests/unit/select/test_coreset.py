"""k-centre greedy: by hand on a line, by a slow loop, and by scikit-activeml."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import skactiveml.pool

from pipeline.artifacts import Float32
from pipeline.select import PoolView, strategy
from tests.unit.select.conftest import MakePool


def on_a_line(*places: float) -> Float32:
    return np.array(places, np.float32)[:, None]


def test_by_hand() -> None:
    #                                   id 5  6  7  8   9
    view = PoolView(np.arange(5, 10), features=on_a_line(0, 1, 4, 9, 10), labelled=np.arange(5) == 1)
    # From 1 the farthest is 10 (9 away), then 4 (3 away); then 0 and 9 are both 1 away: the lower id.
    assert strategy("coreset").order(view, seed=0).tolist() == [9, 7, 5, 8]


def test_the_first_of_an_unlabelled_pool_is_drawn_by_the_seed() -> None:
    view = PoolView(np.arange(5), features=on_a_line(0, 1, 4, 9, 10))
    firsts = [int(strategy("coreset").query(view, 1, seed)[0]) for seed in range(30)]
    assert set(firsts) == set(range(5))
    assert firsts == [int(np.random.default_rng(seed).integers(5)) for seed in range(30)]


def test_copies_come_last_and_in_the_order_of_ids() -> None:
    view = PoolView(np.arange(6), features=on_a_line(0, 0, 4, 4, 8, 8), labelled=np.arange(6) == 0)
    assert strategy("coreset").order(view, seed=0).tolist() == [4, 2, 1, 3, 5]


@pytest.mark.parametrize("labelled", [1, 12])
def test_as_scikit_activeml_picks(make_pool: MakePool, labelled: int) -> None:
    """To the last sample: the unpicked are copied together several times on the way."""
    view = make_pool(labelled=labelled)
    assert view.features is not None
    y = np.where(np.isin(np.arange(150), view.labelled_rows), 0.0, np.nan)
    theirs = skactiveml.pool.CoreSet(random_state=0).query(
        view.features.astype(np.float64), y, batch_size=150 - labelled
    )
    assert strategy("coreset").order(view, seed=0).tolist() == view.sample_id[theirs].tolist()


def test_as_scikit_activeml_goes_on_from_our_first(make_pool: MakePool) -> None:
    """Theirs draws its first by another generator; from the same first on the picks are the same."""
    view = make_pool(seed=3)
    order = strategy("coreset").order(view, seed=5)
    begun = dataclasses.replace(view, labelled=view.sample_id == order[0])
    assert begun.features is not None
    y = np.where(begun.labelled, 0.0, np.nan)
    theirs = skactiveml.pool.CoreSet(random_state=0).query(begun.features.astype(np.float64), y, batch_size=149)
    assert order[1:].tolist() == view.sample_id[theirs].tolist()
