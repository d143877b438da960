"use strict";
(() => {
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const opposite = { ascending: "descending", descending: "ascending" };
    const sort = (head) => {
      const column = heads.indexOf(head);
      const numeric = head.classList.contains("num");
      const order = opposite[head.getAttribute("aria-sort")] ?? (head.dataset.first === "desc" ? "descending" : "ascending");
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      // Rows of other conditions are not compared, so each group is sorted for itself.
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => row.dataset.text !== undefined);
        rows.sort((left, right) => {
          const a = value(left, column);
          const b = value(right, column);
          if (a === "" || b === "") return (a === "") - (b === "");
          return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true, sensitivity: "base" }));
        });
        body.append(...rows);
      }
    };
    for (const head of heads) if (head.dataset.first) head.addEventListener("click", () => sort(head));
  }
  const input = document.getElementById("filter");
  if (!input) return;
  const rows = [...document.querySelectorAll("tr[data-text]")];
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => row.dataset.text.toLowerCase().includes(word));
      shown += row.hidden ? 0 : 1;
    }
    document.getElementById("count").textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  };
  input.addEventListener("input", filter);
  filter();
})();
