// Long tables are sorted by a click on a heading and filtered by a word; figures open alone, to be enlarged or saved.
// What is wider than the screen can be scrolled by keyboard. Below a figure a PNG is made, and its numbers are unpacked.
document.addEventListener("DOMContentLoaded", () => {
  for (const image of document.querySelectorAll(".bd-article img:not(a img)")) {
    const link = document.createElement("a");
    link.href = image.src;
    link.title = "Open this figure alone";
    image.replaceWith(link);
    link.append(image);
  }
  for (const table of document.querySelectorAll(".bd-article table")) {
    const plain = table.tHead?.rows.length === 1 && !table.querySelector("[rowspan]");
    if (plain && table.tBodies[0]?.rows.length > 9) serve(table);
  }
  for (const link of document.querySelectorAll(location.protocol === "file:" ? "none" : ".nlkit-files a")) complete(link);
  const wide = ".bd-article :is(table, pre, .pst-scrollable-table-container, .output, div.math, .nlkit-repro)";
  new ResizeObserver(() => {
    for (const box of document.querySelectorAll(wide)) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }).observe(document.body);
});

function serve(table) {
  const body = table.tBodies[0], headings = [...table.tHead.rows[0].cells];
  const texts = (row, column) => row.cells[column].textContent.trim();
  // Numbers before words, empty cells last, whatever the direction; a number may go on: "96.1 (a)", "1,500".
  const number = (text) => parseFloat(text.replace(/,(?=\d{3})/g, ""));
  const order = (a, b, sign) => !a - !b || isNaN(number(a)) - isNaN(number(b)) ||
    sign * (number(a) - number(b) || a.localeCompare(b, "en", { numeric: true }));
  headings.forEach((heading, column) => {
    if (!heading.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "nlkit-sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const up = heading.ariaSort !== "ascending";
      headings.forEach((one) => { one.ariaSort = null; });
      heading.ariaSort = up ? "ascending" : "descending";
      body.append(...[...body.rows].sort((a, b) => order(texts(a, column), texts(b, column), up ? 1 : -1)));
    });
  });
  const filter = document.createElement("input");
  filter.type = "search";
  filter.placeholder = "Only rows with …";
  filter.ariaLabel = "Only rows with this word";
  filter.className = "nlkit-filter";
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const row of body.rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  });
  (table.closest(".pst-scrollable-table-container") ?? table).before(filter);
}

// A page that is opened from a disk may not read other files, so there the links stay as they are.
function complete(link) {
  if (link.download.endsWith(".gz")) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      const packed = (await fetch(link.href)).body;
      save(await new Response(packed.pipeThrough(new DecompressionStream("gzip"))).blob(), link.download.slice(0, -3));
    });
  } else if (link.download.endsWith(".svg")) {
    const button = link.cloneNode();
    button.textContent = "PNG";
    button.download = link.download.replace(/svg$/, "png");
    button.addEventListener("click", async (event) => {
      event.preventDefault();
      const image = new Image(), canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
      image.src = link.href;
      await image.decode();
      [canvas.width, canvas.height] = [3 * image.naturalWidth, 3 * image.naturalHeight]; // 288 pixels an inch
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, button.download));
    });
    link.after(" ", button);
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
