"""The built pages, read as files: complete, linked, and without anything from another host."""

import functools
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

bs4 = pytest.importorskip("bs4", reason="the package beautifulsoup4 is not installed")


@functools.cache
def soup(path: Path) -> bs4.BeautifulSoup:
    return bs4.BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    return frozenset(tag["id"] for tag in soup(path).find_all(id=True)) | {"", "top"}


def loaded(page: bs4.BeautifulSoup) -> list[str]:
    """Addresses that a browser fetches, or may fetch, without being asked."""
    tags = page.select("[src], object[data], link[href]")
    return [tag.get("src") or tag.get("data") or tag["href"] for tag in tags]


def test_a_page_has_one_title_images_with_a_description_and_links_that_lead_somewhere(html: Path, name: str) -> None:
    path = html / f"{name}.html"
    page = soup(path)
    assert len(page.select("h1")) == len(page.select("article h1")) == 1
    assert len(page.select("head meta[name=description][content]")) == 1
    assert [fold for fold in page.select("summary") if not (fold.text.strip() or fold.get("aria-label"))] == []
    assert all(tag.get("alt") for tag in page.select("article img"))
    targets = [tag["href"] for tag in page.find_all("a", href=True)]
    assert [address for address in [*targets, *loaded(page)] if not resolves(address, path, html)] == []
    assert [address for address in loaded(page) if urlsplit(address).netloc] == [], "loaded from elsewhere"


def resolves(address: str, path: Path, html: Path) -> bool:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file() or not target.is_relative_to(html.resolve()):
        return False
    if target.suffix != ".html" or target.name in {"genindex.html", "search.html"}:
        return True
    return unquote(parts.fragment) in anchors(target)


def test_front_page_leads_to_the_book(html: Path, front_page: str) -> None:
    refresh = soup(html / "index.html").find("meta", attrs={"http-equiv": "Refresh"})
    assert refresh is not None and refresh["content"].endswith(f"url={front_page}.html")


def test_style_sheets_import_nothing_from_elsewhere(html: Path) -> None:
    sheets = [*html.glob("_static/*.css"), *html.glob("_static/styles/*.css")]
    assert sheets
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8").replace(" ", "").replace('"', "").replace("'", "")
        assert "url(http" not in text and "url(//" not in text, sheet.name


def test_the_site_is_light_and_holds_nothing_that_no_page_shows(html: Path) -> None:
    assert sum(path.stat().st_size for path in html.rglob("*") if path.is_file()) <= 45_000_000
    pages = "".join(path.read_text(encoding="utf-8") for path in html.rglob("*.html"))
    kept = [*html.glob("_images/*"), *html.glob("downloads/records/*")]
    assert kept and [path.name for path in kept if path.name not in pages] == []
