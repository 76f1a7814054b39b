from html.parser import HTMLParser
from pathlib import Path

from lossact.report.html import write_html
from tests.report.test_table import result


class Reader(HTMLParser):
    """Collects text, tags and everything a page could load."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()
        self.loads: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def test_the_page_says_what_the_table_says_and_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "new" / "claims.html"
    write_html(page, [result()], seed=3, alpha=0.025, delta=0.1)
    found = read(page)
    for words in (
        "REFUTED",
        "win probability 0.144",
        "0.095 to 0.263",
        "on record: supported",
        "ReLU/L2 27%",
        "seed 3",
        "in 2 of 512",
    ):
        assert words in found.text
    assert found.loads == []


def test_hostile_text_is_shown_and_not_run(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    page = tmp_path / "claims.html"
    write_html(
        page, [result(statement=hostile, source=hostile, sentence=hostile, family=hostile, warnings=(hostile,))],
        seed=0, alpha=0.025, delta=0.1,
    )  # fmt: skip
    found = read(page)
    assert found.text.count(hostile) == 5
    assert not found.tags & {"script", "img"}
