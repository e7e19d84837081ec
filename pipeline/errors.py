"""The one exception for bad input. Everything else that is raised is a bug."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """The caller gave something that cannot work.

    The message is one sentence that names the thing and the remedy. The command line prints it
    without a traceback and exits with code 2.
    """


class StoreError(InputError):
    """The store takes nothing more: full, over a quota, or read-only meanwhile. What was begun there stays begun."""


class HeldError(InputError):
    """Another job that lives is at the same run. The command line exits with code 4."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "", *, cutoff: float = 0.6) -> str:
    """The second half of a sentence about a name that is not known: the closest known one, or ``otherwise``."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"did you mean '{close[0]}'?" if close else otherwise or f"choose one of {', '.join(known)}."
