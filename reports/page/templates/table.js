"use strict";
(() => {
  const table = document.getElementById("main");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows].filter((row) => row.dataset.text !== undefined);

  const cell = (row, column) => row.querySelector(`[data-column="${column}"]`);
  const value = (row, column) => cell(row, column)?.dataset.value ?? "";

  const compare = (a, b, numeric) =>
    numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true, sensitivity: "base" });

  function sort(head) {
    const column = head.dataset.column;
    const numeric = head.classList.contains("num");
    const opposite = { ascending: "descending", descending: "ascending" };
    const first = head.dataset.first === "desc" ? "descending" : "ascending";
    const order = opposite[head.getAttribute("aria-sort")] ?? first;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((left, right) => {
      const a = value(left, column);
      const b = value(right, column);
      // What was not measured comes last in either direction.
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * compare(a, b, numeric);
    });
    body.append(...rows);
  }

  const operators = {
    ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, "<": (a, b) => a < b, "=": (a, b) => a === b,
  };

  function matches(row, word) {
    const parts = /^([a-z0-9_]+)(>=|<=|=|>|<)(.+)$/.exec(word);
    const head = parts && heads.find((other) => other.dataset.column === parts[1]);
    if (!head) return row.dataset.text.toLowerCase().includes(word);
    const held = value(row, parts[1]);
    if (held === "") return false;
    if (head.classList.contains("num")) return operators[parts[2]](Number(held), Number(parts[3]));
    return parts[2] === "=" && held.toLowerCase().includes(parts[3]);
  }

  function filter() {
    const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => matches(row, word));
      shown += row.hidden ? 0 : 1;
    }
    document.getElementById("count").textContent =
      words.length ? `${shown} of ${rows.length} rows` : `${rows.length} row${rows.length === 1 ? "" : "s"}`;
  }

  for (const head of heads) head.querySelector("button").addEventListener("click", () => sort(head));
  document.getElementById("filter").addEventListener("input", filter);
  for (const box of document.querySelectorAll(".boxes input")) {
    const show = () => {
      for (const part of table.querySelectorAll(`[data-column="${box.dataset.column}"]`)) part.hidden = !box.checked;
    };
    box.addEventListener("change", show);
    // A browser keeps the ticks over a reload; the table must follow them.
    show();
  }
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll(".chooser[open]")) if (!open.contains(event.target)) open.open = false;
  });
  filter();
})();
