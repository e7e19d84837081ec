"""A page as a browser would read it: with the standard library's parser, not with our own template."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr"}


@dataclass
class Element:
    """A start tag with all the text below it."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    inside: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """Every element in document order; fails on a tag that is closed wrongly or never."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.feed(html)
        self.close()
        assert [element.tag for element in self.open] == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        path = [f"{element.tag}.{element.attributes.get('class') or ''}" for element in self.open]
        element = Element(tag, dict(attrs), inside=path)
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data

    def all(self, tag: str, name: str | None = None) -> list[Element]:
        """Elements of this tag and, where it is given, of this class."""
        return [
            element
            for element in self.elements
            if element.tag == tag and (name is None or name in (element.attributes.get("class") or "").split())
        ]

    @property
    def text(self) -> str:
        """All that can be read, with single spaces."""
        return " ".join(self.all("body")[0].text.split())


def assert_loads_nothing(html: str) -> None:
    """No script, no address of anything outside the page, and a policy that forbids both."""
    page = Page(html)
    assert page.all("script") + page.all("link") + page.all("iframe") + page.all("object") == []
    assert not re.search(r"https?:|@import|url\(|javascript:", html)
    for element in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert (element.attributes.get(name) or "data:").startswith(("data:", "#"))
        assert not [name for name in element.attributes if name.startswith("on")]
    policy = [e.attributes["content"] for e in page.all("meta") if "http-equiv" in e.attributes]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
