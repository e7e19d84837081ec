"""What a row, a curve or a line is called: its strategy, with the settings that set it apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Spec = TypeVar("Spec")


def namer(specs: Iterable[Spec], strategy: Callable[[Spec], str], settings: Sequence[str]) -> Callable[[Spec], str]:
    """A function that names each of ``specs``: "margin (k=5)" where specs of one strategy differ in k, else "margin".

    Args:
        settings: fields that a name may tell.
    """
    alike: dict[str, list[Spec]] = {}
    for each in specs:
        alike.setdefault(strategy(each), []).append(each)

    def name(spec: Spec) -> str:
        called, others = strategy(spec), alike[strategy(spec)]
        apart = [each for each in settings if len({getattr(other, each) for other in others}) > 1]
        extra = ", ".join(f"{each}={getattr(spec, each)}" for each in apart)
        return f"{called} ({extra})" if extra else called

    return name
