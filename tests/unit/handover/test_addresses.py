"""Each address is read as a browser and Label Studio's server read it, and leads back to its key."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import parse_qsl, unquote, urlparse

import pytest

from pipeline.handover.addresses import address, leads_elsewhere
from pipeline.handover.label_studio import what_to_say_of_addresses

KEYS = [
    "plain.png",
    "plus+sign.png",
    "plus sign.png",
    "hash#tag.png",
    "100%.png",
    "100%25.png",
    "a%2Fb.png",
    "you & me.png",
    "a&d=other.png",
    "why?.png",
    "semi;colon.png",
    "back\\slash.png",
    "'single' \"double\".png",
    "größe/图像 1.png",
    "gro\u0308\u00dfe.png",
    "a=b.png",
    "tab\tbed.png",
    "two\nlines.png",
    "day 1/deep/er/~x.png",
    "[x] {y} <z> `|^.png",
    "http:x/y.png",
    " blank first.png",
    ".hidden.png",
    "..two.png",
    "{key}.png",
]


def browser(url: str) -> tuple[str, str]:
    """(Path with folders resolved, query string) that a browser asks for, by the WHATWG URL standard."""
    url = re.sub(r"[\t\r\n]", "", url.strip()).partition("#")[0]
    url = re.sub(r"^https?://[^/?]*", "", url)
    path, _, query = url.partition("?")
    return posixpath.normpath(path.replace("\\", "/")), query


def label_studio_file(query: str) -> str:
    """What ``localfiles_data`` opens below its root; Django's QueryDict is ``parse_qsl`` and keeps the last."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    return posixpath.normpath(given["d"]).lstrip("/")


def label_studio_object(url: str) -> str:
    """``resolve_s3_url``: the object of the bucket."""
    return urlparse(url, allow_fragments=False).path.lstrip("/")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("prefix", "folder"),
    [
        ("/data/local-files/?d=scans", "scans/"),
        ("/data/local-files/?d=scans/", "scans/"),
        ("/data/local-files/?d=", ""),
        ("/data/local-files/?d=my%20scans", "my scans/"),
        ("https://labels.example/data/local-files/?x=1&d=scans", "scans/"),
        ("https://labels.example/get?d=scans/{key}&token=a%2Bb", "scans/"),
    ],
)
def test_a_file_that_label_studio_serves(prefix: str, folder: str, key: str) -> None:
    assert label_studio_file(browser(address(prefix, key))[1]) == folder + key


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("prefix", ["https://images.example/scans", "http://h:8080/scans/", "/scans", "//h/scans"])
def test_a_file_of_a_web_server(prefix: str, key: str) -> None:
    path, query = browser(address(prefix, key).removeprefix("//h"))
    assert (unquote(path), query) == (f"/scans/{key}", "")


def test_an_address_that_goes_on_after_the_key() -> None:
    assert address("https://store.example/scans/{key}?sig=a%2Bb", "a b?.png") == (
        "https://store.example/scans/a%20b%3F.png?sig=a%2Bb"
    )


@pytest.mark.parametrize("key", [key for key in KEYS if not leads_elsewhere("s3://bucket", key)])
@pytest.mark.parametrize("prefix", ["s3://bucket/my scans", "s3://bucket/my scans/", "gs://bucket/my scans"])
def test_an_object_of_a_cloud_storage(prefix: str, key: str) -> None:
    assert label_studio_object(address(prefix, key)) == f"my scans/{key}"


@pytest.mark.parametrize(
    ("prefix", "key", "lost"),
    [
        ("s3://bucket", "why?.png", True),
        ("s3://bucket", "tab\t.png", True),
        ("s3://bucket", "a//b#%+.png", False),
        ("https://x/scans", "a/../b.png", True),
        ("https://x/scans", "a//b.png", False),
        ("/data/local-files/?d=scans", "a//b.png", True),
        ("/data/local-files/?d=scans", "why?.png", False),
    ],
)
def test_keys_that_no_address_leads_to_are_known(prefix: str, key: str, lost: bool) -> None:
    assert leads_elsewhere(prefix, key) is lost
    said = what_to_say_of_addresses(["a.png", key], prefix)
    assert (said is not None) is lost
    if said:
        assert "1 of 2" in said and ascii(key) in said


def test_a_missing_prefix_is_said() -> None:
    said = what_to_say_of_addresses(["a.png"], None)
    assert said is not None and "query.image_prefix" in said
