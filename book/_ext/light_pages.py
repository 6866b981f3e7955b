"""A Sphinx extension: readers load no more than a page needs, and every control has a name.

The theme loads two dozen files. Its style sheets become one, without the rules for classes that no page has, and its
scripts one. Of its icons, which it draws from a font of 1,400 and again by a script of 1.5 MB, a font of those that are
shown is left. A page without formulas does without MathJax. The theme's second title and contents for paper go, since
`print.css` shows those of the page. What unfolds a chapter in the navigation is named after it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tinycss2
from fontTools import subset
from sphinx.application import Sphinx

MATHJAX = re.compile(r'\s*<script[^>]*src="[^"]*mathjax/[^"]*"></script>')
ICONS = re.compile(r'\s*<script src="[^"]*fontawesome[^"]*"></script>|\s*<link rel="preload"[^>]*fontawesome[^>]*>')
SHEETS = re.compile(r'<link [^>]*?href="([^"]*_static/([^"?]+\.css))[^"]*"[^>]*>\s*')
SCRIPTS = re.compile(r'<script (?:data-sd[^>]*)?src="([^"]*_static/([\w./-]+\.js))[^"]*"></script>\s*')
SEPARATE = ("mathjax/", "documentation_options", "searchtools", "language_data", "scripts/bootstrap", "scripts/pydata")
"""Scripts that only some pages have, that others need before them, or that stand at the end of a page."""
PRINT = "print.css"
"""The one sheet that is for paper only; it is kept whole, since the PDF has classes of its own."""
SECOND_TITLE = re.compile(r'<div id="jb-print-docs-body".*?(?=<div id="searchbox">)', re.DOTALL)
FOLD = re.compile(r"(>([^<>]+)</a><details[^>]*>)<summary>")
FUNCTION = re.compile(r":(?:not|is|where|has)\([^()]*(?:\([^()]*\)[^()]*)*\)")


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Go over the files of a finished build; pages of an earlier one have been done already."""
    static = Path(app.outdir, "_static")
    if error is not None or app.builder.format != "html":
        return
    pages = {path: path.read_text(encoding="utf-8") for path in Path(app.outdir).rglob("*.html")}
    pages = {path: text for path, text in pages.items() if static not in path.parents}
    first = (static / "reading.js").read_text(encoding="utf-8") if (static / "reading.js").exists() else ""
    words = set(re.findall(r"[\w-]+", " ".join([*pages.values(), first])))
    new = [text for text in pages.values() if SHEETS.search(text) and "_static/book.css" not in text]
    if new:
        scripts = [name for _, name in SCRIPTS.findall(ICONS.sub("", new[0])) if not name.startswith(SEPARATE)]
        shared = [static / "scripts" / name for name in ("bootstrap.js", "pydata-sphinx-theme.js")]
        for path in [*shared, *(static / name for name in scripts)]:
            words |= set(re.findall(r"[\w-]+", path.read_text(encoding="utf-8")))
        write_sheet(static, [name for _, name in SHEETS.findall(new[0])], words)
        texts = ["", *((static / name).read_text(encoding="utf-8") for name in scripts)]
        (static / "book.js").write_text("\n;\n".join(texts), encoding="utf-8")  # the first ; forbids strict mode
    for path, text in pages.items():
        lighter = lighter_page(text, static)
        if lighter != text:
            path.write_text(lighter, encoding="utf-8")
    tidy(static, " ".join(pages.values()))


def lighter_page(text: str, static: Path) -> str:
    """A page with one style sheet and one script of its own, and with a name for what opens and closes."""
    text = SECOND_TITLE.sub("", ICONS.sub("", text))
    if 'class="math' not in text:
        text = MATHJAX.sub("", text)
    text = with_one(text, SHEETS, static / "book.css", '<link href="{}" rel="stylesheet" />\n')
    text = with_one(text, SCRIPTS, static / "book.js", '<script src="{}"></script>\n')
    text = text.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
    return FOLD.sub(r'\1<summary aria-label="Pages of \2">', text)


def with_one(text: str, pattern: re.Pattern[str], file: Path, tag: str) -> str:
    """A page that loads a file in place of the last of those that the pattern finds, and none of the others."""
    found = [one for one in pattern.finditer(text) if not one[2].startswith(SEPARATE)]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8] if found else ""
    for one in reversed(found):
        address = f"{one[1].removesuffix(one[2])}{file.name}?v={digest}"
        text = text[: one.start()] + tag.format(address) * (one is found[-1]) + text[one.end() :]
    return text


def write_sheet(static: Path, names: Sequence[str], words: set[str]) -> None:
    """Write `book.css`: the rules of these sheets that a page with such words may need, and their icons as fonts."""
    rules = [rule for name in names if name != PRINT for rule in needed(static / name, static, words)]
    if PRINT in names:
        rules.append(f"@media print {{{(static / PRINT).read_text(encoding='utf-8')}}}")
    text = re.sub(r"/\*.*?\*/", "", "\n".join(rules), flags=re.DOTALL)
    text = re.sub(r"[^\S\n]+", " ", text)
    for font in re.findall(r"url\((vendor/[^)]*?)\.woff2\)", text):
        options = subset.Options(flavor="woff", ignore_missing_unicodes=True)
        loaded, made = subset.load_font(str(static / f"{font}.ttf"), options), subset.Subsetter(options)
        made.populate(text=text)
        made.subset(loaded)
        subset.save_font(loaded, str(static / f"{Path(font).name}.woff"), options)
    text = re.sub(r'url\(vendor/[^)]*/([\w-]+)\.woff2\) format\("woff2"\)', r'url(\1.woff) format("woff")', text)
    text = re.sub(r',\s*url\(vendor/[^)]*\) format\("truetype"\)', "", text)
    (static / "book.css").write_text(f'@charset "utf-8";\n{text}', encoding="utf-8")


def needed(path: Path, static: Path, words: set[str]) -> Iterator[str]:
    """The rules of a style sheet for classes that are among the words, with addresses as seen from `static`."""
    text = path.read_text(encoding="utf-8")
    place = os.path.relpath(path.parent, static)

    def address(found: re.Match[str]) -> str:
        return f"url({os.path.normpath(os.path.join(place, found[1]))})"

    text = re.sub(r"""url\(["']?(?!data:|#)([^)"']+)["']?\)""", address, text)
    for rule in tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True):
        if rule.type == "at-rule" and rule.lower_at_keyword == "import":
            imported = re.sub(r"""[\s"'();]|url""", "", tinycss2.serialize(rule.prelude))
            yield from needed(path.parent / imported, static, words)
        else:
            yield from kept(rule, words)


def kept(rule: Any, words: set[str]) -> Iterator[str]:
    """A rule as text, without those of its selectors that name a class which is not among the words."""
    if rule.type == "qualified-rule":
        selectors = re.split(r",(?![^(]*\))", tinycss2.serialize(rule.prelude))
        used = [one for one in selectors if set(re.findall(r"\.([\w-]+)", FUNCTION.sub("", one))) <= words]
        if used:
            yield f"{','.join(used)}{{{tinycss2.serialize(rule.content).strip()}}}"
    elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
        inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
        if texts := [text for one in inner for text in kept(one, words)]:
            newline = "\n"
            yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{newline.join(texts)}}}"
    elif rule.type == "at-rule" and rule.lower_at_keyword != "charset":
        yield rule.serialize()


def tidy(static: Path, pages: str) -> None:
    """Remove what no page loads: what is now in one file, which a later build copies again, and former figures."""
    folders = ("styles", "vendor/fontawesome")
    shown = set(re.findall(r"_images/([\w.+-]+)", pages))
    found = [path for path in static.parent.glob("_images/*") if path.name not in shown]
    found += [*static.rglob("*.map"), *(path for name in folders for path in static.glob(f"{name}/**/*"))]
    for path in found:
        if path.is_file() and path.name != "LICENSE.txt":
            path.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", lighten, priority=900)  # the theme writes the colours of code at that time, too
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
