"""A new method is a file, a folder of parameters, a notebook and a chapter; all else finds it, nothing is edited."""

import json
import re
from pathlib import Path

import pytest
import tiny
import yaml
from tiny import python

RENAMED = {"CrossEntropy": "Toy", '"cross_entropy': '"toy', "Cross-entropy": "Toy"}
"""What turns the files of cross-entropy, the smallest method, into those of the toy."""
PARAMS = """paper: toy
cell: digits-sym-50
base: bases/shared/digits

noise:
  rate: 0.5
training:                # ours: short
  epochs: 2
  snapshots: [1, 2]
method:                  # ours
  name: toy
"""
CHAPTER = """# Toy

## Settings

```{include} _generated/params_toy.md
```

## Results

```{include} _generated/results_toy_digits.md
```
"""
FOUND = """
import json
from pathlib import Path
import pytest
from nlbook import contents, contest, fragments
from nlkit.cli import main
assert main(["run", "params/toy/digits-sym-50.yaml", "--quiet"]) == 0
assert main(["adopt", "runs/toy/digits-sym-50/seed-0"]) == 0
properties = ["-q", "--collect-only", "-o", "addopts=--import-mode=importlib", "tests/methods/test_properties.py"]
assert pytest.main(["-p", "no:cacheprovider", "-p", "no:nbval", *properties]) == 0
source, pages, cell = fragments.Source(Path()), contents.run_pages(Path()), "digits-sym-50"
Path("book/_generated/extra").mkdir(parents=True)
for name in ("params_toy", "results_toy_digits"):
    Path(f"book/_generated/{name}.md").write_text(fragments.markdown(fragments.table(name, source)))
groups = contest.contestants(contest.all_runs(), [cell])
print(json.dumps({
    "fragments": sorted(name for name in contents.fragments(Path()) if "toy" in name),
    "settings": fragments.table("params_toy", source).to_dict("records"),
    "results": fragments.table("results_toy_digits", source).to_dict("records"),
    "compared": contest.accuracy_table(groups).loc["Toy"].to_list(),
    "cost": contest.cost_table(groups[cell]).loc["Toy", "passes an epoch"],
    "pages": [page for page in pages if "toy" in page],
    "toc": contents.table_of_contents(Path(), pages),
    "code": [str(path) for path in contents.code("toy-digits-sym-50") if path.parts[1] == "methods"],
}))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a toy method."""
    folder = tiny.copy_of_project(tmp_path_factory.mktemp("tree"))
    (folder / "params/toy").mkdir()
    for name, toy in (("nlkit/methods/cross_entropy.py", "toy.py"), ("notebooks/cross_entropy.ipynb", "toy.ipynb")):
        text = (folder / name).read_text(encoding="utf-8")
        for old, new in RENAMED.items():
            text = text.replace(old, new)
        (folder / name).with_name(toy).write_text(text, encoding="utf-8")
    (folder / "params/toy/digits-sym-50.yaml").write_text(PARAMS, encoding="utf-8")
    (folder / "book/toy.md").write_text(CHAPTER, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def said(tree: Path) -> list[str]:
    """The lines of a process that makes a run, collects the tests of properties, and asks for all else."""
    return python(tree, "-c", FOUND).splitlines()


def test_property_tests_tables_comparison_pages_and_contents_take_it_up(said: list[str]) -> None:
    found = json.loads(said[-1])
    assert found["fragments"] == ["params_toy.md", "results_toy_digits.md"]
    assert [row["cell"] for row in found["settings"]] == [row["cell"] for row in found["results"]] == ["digits-sym-50"]
    assert found["settings"][0]["epochs"] == 2
    assert found["compared"] != ["not run here"] and found["cost"] == "3.0"
    assert found["pages"] == ["toy-digits-sym-50"]
    assert found["code"] == ["nlkit/methods/base.py", "nlkit/methods/toy.py"]
    chapters = [chapter for part in found["toc"]["parts"] for chapter in part["chapters"]]
    (chapter,) = [one for one in chapters if one["file"] == "book/toy"]
    assert [section["file"] for section in chapter["sections"]] == ["book/pages/toy-digits-sym-50"]
    assert said[0].startswith("trained: ") and sum("toy]" in line for line in said[:-1]) >= 10


def test_the_engine_makes_its_page_and_its_runs(tree: Path) -> None:
    words = ("-m", "snakemake", "--cores", "1", "--dry-run", "--printshellcmds", "--config", "fresh=none", "seeds=3,4")
    found = python(tree, *words, "--", "book/pages/.all", "digits")
    assert "toy-digits-sym-50" in found
    for seed in (3, 4):
        run = f"params/toy/digits-sym-50.yaml -s seed={seed} --out $(dirname runs/toy/digits-sym-50/seed-{seed}/"
        assert found.count(run) == 1
    with pytest.raises(AssertionError, match="seeds=0-2: expected whole numbers"):
        python(tree, *words[:-1], "seeds=0-2", "--", "digits")


@pytest.mark.slow
def test_it_stands_in_the_built_book(tree: Path, said: list[str]) -> None:
    """A book of this chapter and page alone, with warnings as errors."""
    python(tree, "-m", "nlbook.pages", "1", "toy-digits-sym-50")
    toc = {"format": "jb-book", "root": "book/toy", "chapters": [{"file": "book/pages/toy-digits-sym-50"}]}
    (tree / "book/_generated/_toc.yml").write_text(yaml.safe_dump(toc))
    config = tree / "_config.yml"
    config.write_text(re.sub(r"\burl: .*", "url: https://github.com/some/where", config.read_text(encoding="utf-8")))
    words = ("build", ".", "--toc", "book/_generated/_toc.yml", "--warningiserror", "-n")
    python(tree, "-c", "from jupyter_book.cli.main import main; main()", *words)
    html = (tree / "_build/html/book/toy.html").read_text(encoding="utf-8")
    page = (tree / "_build/html/book/pages/toy-digits-sym-50.html").read_text(encoding="utf-8")
    assert ("digits-sym-50" in html and "smoothing" in html and "<svg" in page + html) or "<img" in page
    binder = "mybinder.org/v2/gh/some/where/main?urlpath=lab/tree/notebooks/toy.ipynb"
    colab = "colab.research.google.com/github/some/where/blob/main/notebooks/toy.ipynb"
    assert re.findall(r'href="https://(mybinder[^"]*|colab[^"]*)"', page) == [binder, colab]
    assert "git clone -q https://github.com/some/where" in page and "mybinder" not in html
