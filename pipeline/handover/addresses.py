"""Where an annotation tool finds an image: its address, from a prefix and its key.

The address leads back to exactly its key. Source: Label Studio 1.23, ``localfiles_data`` and ``resolve_s3_url``.
"""

from __future__ import annotations

import re
from urllib.parse import quote

KEY = "{key}"
"""Stands for the key in a prefix that goes on after it, as a signed address does."""
_WEB = ("http", "https", "")


def address(prefix: str, key: str) -> str:
    """The address of an image.

    A browser's address has the key percent-encoded, so that ``+ # % & ?`` and blanks stay what they are, in a path and
    in a query string. Label Studio takes the key of a cloud storage's address (``s3://``, ``gs://``, ...) as it stands.

    Args:
        prefix: what comes before the key, with a slash between, or an address with ``{key}`` in it.
    """
    written = quote(key, safe="/") if _scheme(prefix) in _WEB else key
    before, placed, after = prefix.partition(KEY)
    if placed:
        return before + written + after
    # "?d=" is the root of the files that are served: a slash would make the key another one.
    return prefix + written if prefix.endswith("=") else f"{prefix.rstrip('/')}/{written}"


def leads_elsewhere(prefix: str, key: str) -> bool:
    """Whether no address below ``prefix`` leads to the key.

    Browsers resolve ``.`` and ``..`` in a path, however they are written. Label Studio shortens ``//`` in its query
    string. It cuts a cloud storage's address at ``?``, and Python drops tabs and line ends from it.
    """
    folders = key.split("/")
    if _scheme(prefix) in _WEB:
        return not {".", ".."}.isdisjoint(folders) or ("?" in prefix and "" in folders)
    return key.startswith("/") or re.search(r"[?\t\r\n]", key) is not None


def _scheme(prefix: str) -> str:
    found = re.match(r"([A-Za-z][A-Za-z0-9+._-]*)://", prefix)
    return found[1].lower() if found else ""
