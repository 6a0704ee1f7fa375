"""Check that each link within the built site leads somewhere: page, file and anchor."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Links(HTMLParser):
    """What one page links to, and what in it can be linked to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note its link, its picture and its name."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in {"href", "src"} and value:
                self.targets.append(value)


def dead_links(site: Path) -> list[str]:
    """Return one line for each link of the pages in *site* that leads nowhere."""
    pages = {path.resolve(): Links(path) for path in site.rglob("*.html")}
    dead = []
    for path, links in pages.items():
        for target in links.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            found = (path.parent / unquote(url.path)).resolve() if url.path else path
            if found in pages:
                alive = unquote(url.fragment) in pages[found].anchors
            else:
                alive = found.is_file()
            if not alive:
                dead.append(f"{path.relative_to(site.resolve())}: {target}")
    return dead


if __name__ == "__main__":
    dead = dead_links(Path(sys.argv[1]))
    sys.exit("\n".join(dead) or 0)
