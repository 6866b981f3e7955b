"""The built pages, opened in a headless browser as a reader would open them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nlkit import load_run
from nlkit.figures.images import chosen, loss_bins

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
SOUGHT = {"co-refinement": "dividemix", "loss": "problem", "reproduce": "how_to_run", "mislabeled images": "your_data"}
SOUGHT["DivideMix"] = "dividemix"  # the name of a chapter, which must come first
PAPER, CELL = "cross_entropy", "digits-sym-20"  # is never trained anew

BAD_IMAGES = """() => [...document.querySelectorAll('article img')].filter(image => {
  const box = image.getBoundingClientRect();
  return image.naturalWidth === 0 || box.width === 0 || box.height === 0
    || box.left < -1 || box.right > window.innerWidth + 1;
}).map(image => image.getAttribute('src'))"""
RAW_FORMULAS = """() => [...document.querySelectorAll('article .math')].filter(
  formula => !formula.querySelector('mjx-container mjx-math, mjx-container svg')
    || formula.querySelector('mjx-merror')
).map(formula => formula.textContent.slice(0, 80))"""
SMALLEST_TEXT = """async () => {
  let least = Infinity;
  for (const image of document.querySelectorAll('article img[src$=".svg"]')) {
    const file = await (await fetch(image.src)).text();
    const [svg, width] = [...file.match(/<svg[^>]*viewBox="0 0 ([\\d.]+)/)];
    const sizes = [...file.matchAll(/font(?:-size)?: ([\\d.]+)px/g)].map(found => Number(found[1]));
    least = Math.min(least, ...sizes.map(size => size * image.getBoundingClientRect().width / Number(width)));
  }
  return least;
}"""
LOADED = """() => ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind)).filter(
  one => !one.name.startsWith('data:')
).map(one => one.encodedBodySize)"""
MOST_REQUESTS, MOST_BYTES = 25, 1_500_000
ENDS = """names => [...document.querySelectorAll(names)].map(one => one.getBoundingClientRect().bottom + scrollY)"""
EXCESS_WIDTH = "() => document.documentElement.scrollWidth - window.innerWidth"
SETTLED = "() => !window.MathJax || !window.MathJax.startup || window.MathJax.startup.promise.then(() => true)"


@dataclass
class Visit:
    """A page and all that went wrong while it loaded."""

    page: Any
    site: str
    problems: list[str] = field(default_factory=list)

    def open(self, name: str) -> None:
        own = (self.site, "data:", "blob:")
        self._watch("console", lambda message: message.type == "error" and message.text)
        self._watch("pageerror", str)
        self._watch("request", lambda request: not request.url.startswith(own) and request.url)
        self._watch("requestfailed", lambda request: request.url)
        self._watch("response", lambda response: response.status >= 400 and response.url)
        self.page.goto(f"{self.site}{name}.html", wait_until="networkidle")
        self.page.wait_for_function(SETTLED)
        for image in self.page.query_selector_all("article img"):
            image.evaluate("image => image.scrollIntoView()")

    def _watch(self, event: str, problem: Callable[[Any], Any]) -> None:
        """Note what is wrong with an event, if anything is."""
        self.page.on(event, lambda one: self.problems.extend(f"{event}: {text}" for text in [problem(one)] if text))


@pytest.fixture
def visit(chromium: Any, site: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    context = chromium.new_context(viewport=getattr(request, "param", DESKTOP), color_scheme="light")
    yield Visit(context.new_page(), site)
    context.close()


def test_page(visit: Visit, name: str) -> None:
    """No error, no request elsewhere, formulas set, figures legible, nothing wider than the screen, a phone's too."""
    visit.open(name)
    assert not visit.page.evaluate(RAW_FORMULAS)
    loaded = visit.page.evaluate(LOADED)  # before the figures are fetched once more, to be measured
    assert len(loaded) <= MOST_REQUESTS and sum(loaded) <= MOST_BYTES
    for size, pixels in ((DESKTOP, 9), (PHONE, 7)):
        visit.page.set_viewport_size(size)
        assert not visit.page.evaluate(BAD_IMAGES)
        assert visit.page.evaluate(EXCESS_WIDTH) <= 0
        assert visit.page.evaluate(SMALLEST_TEXT) >= pixels
    assert not visit.problems
    visit.page.emulate_media(color_scheme="dark")
    assert faults(visit.page) == []


@pytest.mark.parametrize("kind", ["index", "results", "dividemix", "your_data", f"pages/{PAPER}-{CELL}"])
def test_a_page_of_each_kind_is_accessible_by_day_on_a_desk(visit: Visit, kind: str) -> None:
    visit.open(f"book/{kind}")
    assert faults(visit.page) == []


def faults(page: Any) -> list[str]:
    """What axe-core finds that keeps readers out; formulas, which MathJax writes, are left out."""
    reason = "the package axe-playwright-python is not installed"
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason=reason).Axe()
    found = axe.run(page, {"include": ["html"], "exclude": ["mjx-container"]}).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {node['html'][:200]}" for one in grave for node in one["nodes"]]


def test_the_first_screens_say_what_was_found_and_lead_on_and_the_results_stay_short(visit: Visit) -> None:
    visit.open("book/index")
    finding, figure, *ways = visit.page.evaluate(ENDS, "article ol, article #fig-found img, #four-ways-in .sd-card")
    assert finding < figure < min(ways) and len(ways) == 4 and max(ways) <= 1800
    visit.open("book/results")
    assert visit.page.evaluate("() => document.documentElement.scrollHeight") <= 6000


def test_dark_mode_can_be_chosen(visit: Visit) -> None:
    visit.open("book/index")
    page = visit.page
    background = "() => getComputedStyle(document.body).backgroundColor"
    seen = {}
    for _ in range(3):
        page.locator("button.theme-switch-button:visible").first.click()
        seen[page.evaluate("() => document.documentElement.dataset.theme")] = page.evaluate(background)
    assert set(seen) == {"light", "dark"}
    assert seen["light"] != seen["dark"]
    assert not visit.problems


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["phone"])
def test_navigation_opens_on_a_phone(visit: Visit) -> None:
    visit.open("book/index")
    link = visit.page.locator(".bd-sidebar-primary a", has_text="DivideMix").first
    visit.page.locator("button.primary-toggle:visible").first.click()
    link.wait_for(state="visible")
    link.click()
    visit.page.wait_for_url("**/dividemix.html")


@pytest.mark.parametrize(("words", "chapter"), SOUGHT.items())
def test_search_finds_chapters_before_runs_and_shows_no_raw_formula(visit: Visit, words: str, chapter: str) -> None:
    visit.open(f"search.html?q={words}&html=")  # `open` adds an ending
    visit.page.wait_for_selector("#search-results ul.search li a")
    visit.page.wait_for_function("() => /found/.test(document.querySelector('.search-summary').textContent)")
    links = visit.page.eval_on_selector_all("#search-results ul.search li a", "found => found.map(a => a.pathname)")
    runs = ["/pages/" in link and "-" in link for link in links]
    assert f"/book/{chapter}.html" in links[: 1 if words.lower() == chapter else None] and runs == sorted(runs)
    excerpts = visit.page.locator("#search-results p.context").all_inner_texts()
    assert excerpts and not [text for text in excerpts if re.search(r"\\[(\[a-z]", text)]
    assert not visit.problems


def test_a_long_table_is_sorted_and_filtered(visit: Visit) -> None:
    visit.open("book/results")
    visit.page.locator("summary", has_text="TCL").click()
    table = visit.page.locator("details[open] table").first
    numbers = "rows => rows.filter(row => !row.hidden).map(row => parseFloat(row.cells[1].textContent))"
    for order in (1, -1):
        table.get_by_role("button", name="reported").click()
        found = [one for one in table.locator("tbody tr").evaluate_all(numbers) if one is not None][::order]
        assert len(found) > 9 and found == sorted(found)
    visit.page.locator("details[open] .nlkit-filter").first.fill("sym-50 cifar100")
    assert len(table.locator("tbody tr").evaluate_all(numbers)) == 1


def test_a_figure_is_saved_as_an_svg_as_a_png_and_as_the_numbers_of_the_record(visit: Visit) -> None:
    visit.open(f"book/pages/{PAPER}-{CELL}")
    figure = visit.page.locator("figure", has_text="Quality of a split")
    files: dict[str, Path] = {}
    for text in ("SVG", "PNG", "CSV"):
        with visit.page.expect_download() as download:
            figure.get_by_role("link", name=text).click()
        files[download.value.suggested_filename.split(".", 1)[1]] = download.value.path()
    with Image.open(files["png"]) as png:
        assert png.width > 1200 and png.convert("L").getextrema()[0] < 200  # the ground is white
    auc = load_run(ROOT / "results" / PAPER / CELL / "seed-0").epochs["auc"]
    found = pd.read_csv(files["csv"], index_col="series").loc["AUC of P(clean)", "y (split quality)"]
    np.testing.assert_allclose(found, auc, rtol=1e-5)
    assert files["svg"].read_bytes().startswith(b"<svg") and not visit.problems


@pytest.mark.parametrize("visit", [DESKTOP, PHONE], indirect=True, ids=["desktop", "phone"])
def test_the_viewer_shows_each_epoch_of_the_record_by_keyboard_and_by_mouse(visit: Visit) -> None:
    epochs = load_run(ROOT / "results" / PAPER / CELL / "seed-0").epochs
    visit.open(f"book/pages/{PAPER}-{CELL}")
    viewer = visit.page.locator(".nlkit-viewer")
    for key, epoch in (("End", len(epochs)), ("ArrowLeft", len(epochs) - 1), ("Home", 1), ("ArrowRight", 2)):
        viewer.locator("input").press(key)
        assert viewer.locator("output").inner_text().startswith(f"epoch {epoch} of {len(epochs)}")
        assert f"test accuracy {epochs['accuracy'][epoch - 1]:.1f} %, AUC" in viewer.locator(".said").inner_text()
    seen = {name: 0 for name in ("correct", "wrong")}
    viewer.locator("svg").scroll_into_view_if_needed()
    box, last = viewer.locator("svg").bounding_box(), ""
    for x in range(int(box["x"]) + 44, int(box["x"] + box["width"])):
        visit.page.mouse.move(x, box["y"] + 100)
        said = viewer.locator(".said").inner_text()
        for name in seen if said != last and said.startswith("loss") else ():
            seen[name] += int(re.findall(rf"(\d+) {name} labels", said)[0])
        last = said
    assert list(seen.values()) == [int(sum(epochs[f"hist_{name}"][1])) for name in ("clean", "noisy")]
    assert not visit.problems


@pytest.mark.parametrize("visit", [DESKTOP, PHONE], indirect=True, ids=["desktop", "phone"])
def test_a_bin_of_the_viewer_shows_images_with_the_labels_of_the_record(visit: Visit) -> None:
    run = load_run(ROOT / "results" / PAPER / CELL / "seed-0")
    samples, bins = run.samples.iloc[chosen(run)], loss_bins(run)[len(run.epochs)][chosen(run)]
    fullest = int(np.bincount(bins).argmax())
    away = pd.Series(np.abs(bins - fullest), samples.index).sort_values(kind="stable")
    own = samples.loc[away.index[away <= 2]].groupby(samples["noisy"] == samples["clean"]).head(8)
    visit.open(f"book/pages/{PAPER}-{CELL}")
    viewer = visit.page.locator(".nlkit-viewer")
    viewer.locator("input").press("End")
    plot = viewer.locator("svg")
    plot.press("Home")
    while int(plot.get_attribute("aria-valuenow")) < fullest:
        plot.press("ArrowRight")
    bin = viewer.locator("rect[fill=currentColor]").first
    expected = [f"given {given}\npredicted {guess}" for given, guess in own[["noisy", "prediction"]].to_numpy()]
    for choose in (lambda: plot.press("Enter"), lambda: bin.click(force=True)):
        choose()
        viewer.locator(".sample").nth(len(expected) - 1).wait_for(state="attached")  # a browser may be behind
        assert sorted(viewer.locator(".sample").all_inner_texts()) == sorted(expected)
        plot.press("Enter")
    assert viewer.locator(".sample").count() == 0 and not visit.problems
