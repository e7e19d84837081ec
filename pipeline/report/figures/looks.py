"""How strategies look: one colour, mark and dash each, so that they are told apart in grey print too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.report.figures.canvas import INK, QUERY


@dataclass(frozen=True)
class Look:
    """Of one line or point."""

    colour: str
    marker: str
    dash: Any
    width: float = 1.6
    over: int = 2
    """Larger is drawn later."""


NAMED = {
    "hard-to-contrast": Look(QUERY, "o", "-", 2.6, 4),
    "random": Look(INK, "s", (0, (4, 2)), 1.8, 3),
    "random_covered": Look(INK, "d", (0, (1, 1.5)), 1.8, 3),
}
NAMED["HaCon"] = NAMED["hard-to-contrast"]
"""The two that every figure is about: the paper's own in the query's orange, and chance in ink."""
# Okabe and Ito's colours for all eyes, less those too near the query's.
_COLOURS = (
    "#0072b2",
    "#009e73",
    "#b0529a",
    "#56b4e9",
    "#8a6d00",
    "#6a3d9a",
    "#7f7f7f",
    "#00798c",
    "#a61e4d",
    "#5c940d",
)
_MARKERS = ("^", "v", "D", "P", "X", "<", ">", "p", "h", "*")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (3, 1.2, 1, 1.2)))


def looks(names: list[str]) -> dict[str, Look]:
    """By name; the same names in the same order look the same."""
    others = [name for name in names if name not in NAMED]
    made = {}
    for place, name in enumerate(others):
        turn, at = divmod(place, len(_COLOURS))
        made[name] = Look(_COLOURS[at], _MARKERS[at], _DASHES[turn % len(_DASHES)])
    return {name: NAMED.get(name) or made[name] for name in names}
