"use strict";

/* The order in which rows stand: numbers by size, names by letter, nothing last whichever way. Equals keep their order. */
function sortedOrder(values, descending) {
  const missing = (value) => value === null || value === "" || Number.isNaN(value);
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  return values
    .map((value, index) => ({ value, index }))
    .sort((a, b) => {
      if (missing(a.value) || missing(b.value)) return missing(a.value) - missing(b.value) || a.index - b.index;
      const order = compare(a.value, b.value);
      return (descending ? -order : order) || a.index - b.index;
    })
    .map((one) => one.index);
}

/* Best first at first; then the other way round. */
function nextDirection(current, better) {
  const first = better === "higher" ? "descending" : "ascending";
  if (current !== "ascending" && current !== "descending") return first;
  return current === "ascending" ? "descending" : "ascending";
}

function sortBy(header) {
  const table = header.closest("table");
  const column = Array.from(header.parentNode.children).indexOf(header);
  const direction = nextDirection(header.getAttribute("aria-sort"), header.dataset.better);
  const rows = Array.from(table.tBodies[0].rows);
  const values = rows.map((row) => {
    const text = row.cells[column].dataset.value;
    return text === "" || isNaN(text) ? text : Number(text);
  });
  for (const other of header.parentNode.children) {
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  }
  header.setAttribute("aria-sort", direction);
  for (const index of sortedOrder(values, direction === "descending")) table.tBodies[0].appendChild(rows[index]);
}

if (typeof document !== "undefined") {
  /* The buttons are drawn only where they work. */
  for (const header of document.querySelectorAll("th[data-better]")) {
    const button = document.createElement("button");
    button.type = "button";
    while (header.firstChild) button.appendChild(header.firstChild);
    header.appendChild(button);
    if (!header.hasAttribute("aria-sort")) header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(header));
  }
  /* A link to a folded part opens it, also a second time; everything is printed. */
  const openFor = (hash) => {
    const target = document.getElementById(decodeURIComponent(hash.slice(1)));
    const fold = target && target.closest("details");
    if (!fold || fold.open) return;
    fold.open = true;
    target.scrollIntoView();
  };
  for (const link of document.querySelectorAll("a[href^='#']")) link.addEventListener("click", () => openFor(link.hash));
  addEventListener("hashchange", () => openFor(location.hash));
  openFor(location.hash);
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = Array.from(document.querySelectorAll("details:not([open])"));
    for (const fold of closed) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of closed) fold.open = false;
  });
  const copy = document.getElementById("copy");
  if (copy && navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", () => {
      navigator.clipboard.writeText(document.getElementById("command").textContent).then(() => {
        copy.textContent = "Copied";
      });
    });
  }
}
