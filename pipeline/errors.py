"""The one exception for bad input. Everything else that is raised is a bug."""

from __future__ import annotations


class InputError(Exception):
    """The caller gave something that cannot work.

    The message is one sentence that names the thing and the remedy. The command line prints it
    without a traceback and exits with code 2.
    """
