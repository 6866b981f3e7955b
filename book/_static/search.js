// Sphinx puts this into its search page (`html_search_scorer`). A page that is called what is looked for comes first, pages
// of single runs come last, and excerpts have no raw formulas.
Scorer.score = ([page, title, , , score]) => {
  const wanted = new URLSearchParams(location.search).get("q").trim().toLowerCase();
  if (/\/pages\/.*-/.test(page)) return score / 100;
  return score + (title.toLowerCase().includes(wanted) ? (10 * wanted.length) / title.length : 0);
};

Search.htmlToText = ((plain) => (html, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  page.querySelectorAll(".math").forEach((formula) => formula.replaceWith("…"));
  return plain(page.documentElement.outerHTML, anchor);
})(Search.htmlToText);
