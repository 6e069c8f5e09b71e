// Tables sort by the column whose heading is pressed; printing opens what is folded.
(function () {
  "use strict";
  function value(cell) {
    var raw = cell.getAttribute("data-value");
    var number = parseFloat(raw === null ? cell.textContent : raw);
    return isNaN(number) ? (raw === null ? cell.textContent.trim() : raw) : number;
  }
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") { return a - b; }
    if (typeof a !== typeof b) { return typeof a === "number" ? -1 : 1; }
    return a < b ? -1 : a > b ? 1 : 0;
  }
  function sort(heading, column) {
    var body = heading.closest("table").tBodies[0];
    var down = heading.getAttribute("aria-sort") === "ascending";
    Array.prototype.forEach.call(heading.parentNode.cells, function (cell) { cell.removeAttribute("aria-sort"); });
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    Array.prototype.slice.call(body.rows).map(function (row, place) {
      return { row: row, key: value(row.cells[column]), place: place };
    }).sort(function (a, b) {
      return (down ? -1 : 1) * compare(a.key, b.key) || a.place - b.place;
    }).forEach(function (entry) { body.appendChild(entry.row); });
  }
  document.querySelectorAll("table.sortable thead th").forEach(function (heading) {
    var button = document.createElement("button");
    button.type = "button";
    while (heading.firstChild) { button.appendChild(heading.firstChild); }
    heading.appendChild(button);
    button.addEventListener("click", function () { sort(heading, heading.cellIndex); });
  });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (details) { details.open = true; });
  });
})();
