"use strict";
(() => {
  const filter = document.getElementById("class-filter");
  if (!filter) return;
  const rows = [...document.querySelectorAll("#by-class tbody tr")];
  filter.addEventListener("input", () => {
    const word = filter.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(word);
  });
})();
