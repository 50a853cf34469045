"use strict";
// What the page can do beyond being read: sort and filter tables, show one picture of several. Without it all stands
// there whole, in its order.

const FILTERED_FROM = 6; // tables with fewer rows are seen at a glance

function cellValue(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  return cell.tagName === "TH" || column === 0 ? cell.textContent.trim().toLowerCase() : null;
}

function compare(first, second) {
  if (first === second) return 0;
  if (first === null) return 1; // what is missing comes last, whichever way
  if (second === null) return -1;
  return first < second ? -1 : 1;
}

function sortBy(table, column, header) {
  const descending = header.getAttribute("aria-sort") !== "descending" && column > 0
    || column === 0 && header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [cellValue(row, column), row]);
  rows.sort(([a], [b]) => a === null || b === null ? compare(a, b) : descending ? compare(b, a) : compare(a, b));
  body.append(...rows.map(([, row]) => row));
}

function addSorting(table) {
  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(header.firstChild); // the name; the unit stays beside it
    header.prepend(button);
    button.addEventListener("click", () => sortBy(table, column, header));
  });
}

function labelled(text, control) {
  const label = document.createElement("label");
  label.className = "filter";
  label.append(text, control);
  return label;
}

function addFilter(table) {
  const input = document.createElement("input");
  input.type = "search";
  const count = document.createElement("output");
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    count.textContent = wanted ? ` ${shown} of ${table.tBodies[0].rows.length} rows` : "";
  });
  const label = labelled("Show rows with ", input);
  label.append(count);
  table.closest(".table").prepend(label);
}

function addPicker(box) {
  const parts = Array.from(box.children);
  if (parts.length < 2) return;
  const select = document.createElement("select");
  parts.forEach((part) => select.add(new Option(part.dataset.name)));
  const show = () => parts.forEach((part, number) => { part.hidden = number !== select.selectedIndex; });
  select.addEventListener("change", show);
  box.before(labelled(`${box.dataset.picker} `, select));
  show();
}

for (const box of document.querySelectorAll("[data-picker]")) addPicker(box);
for (const table of document.querySelectorAll("table[data-sort]")) {
  if (table.tBodies[0].rows.length > 1) addSorting(table);
  if (table.tBodies[0].rows.length >= FILTERED_FROM) addFilter(table);
}
