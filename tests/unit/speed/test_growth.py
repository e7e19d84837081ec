"""The exponent that stages are judged by, on times that are known."""

from __future__ import annotations

import math

import pytest

from speed.growth import growth


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_what_grows_as_a_power_less_its_start_has_that_exponent(exponent: float) -> None:
    sizes = (10_000, 1_000_000)
    seconds = [3.0 + 1e-3 * (size - 6_000) ** exponent for size in sizes]
    assert growth(6_000, [3.0, 3.0], sizes, seconds) == pytest.approx(exponent)


def test_less_than_a_start_varies_by_is_no_growth() -> None:
    starts = [3.0, 3.2, 3.4]  # the median is .2 above the fastest
    assert growth(6_000, starts, (10_000, 100_000), [3.1, 3.15]) is None
    # A first size within the noise counts as the noise: from .2 s to 3.2, 16 times, for 23.5 times the images.
    assert growth(6_000, starts, (10_000, 100_000), [3.1, 6.2]) == pytest.approx(math.log(16) / math.log(23.5))
