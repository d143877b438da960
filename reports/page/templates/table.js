"use strict";
// Sorting, columns, and the address, which holds what was chosen.
(() => {
  const { apply, announce, rows, filter, best, inputs, cellOf, places, data, quoted } = choice;
  const table = document.getElementById("main");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const boxes = [...document.querySelectorAll(".boxes input")];
  const opposite = { ascending: "descending", descending: "ascending" };

  const compare = (a, b, numeric) =>
    numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true, sensitivity: "base" });

  function sort(head, order) {
    const column = head.dataset.column;
    const numeric = head.classList.contains("num");
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const held = new Map(rows.map((row) => [row, cellOf(row, column).dataset.value]));
    rows.sort((left, right) => {
      const [a, b] = [held.get(left), held.get(right)];
      // What was not measured comes last in either direction.
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * compare(a, b, numeric);
    });
    body.append(...rows);
  }

  function show(box) {
    const place = places.get(box.dataset.column);
    for (const row of [heads[place].parentElement, ...rows]) row.cells[place].hidden = !box.checked;
  }

  // --- the address -----------------------------------------------------------------------------------------------

  const started = [...rows];
  const nameOf = (input) => (input.dataset.sign ? `limit.${input.dataset.limit}` : `only.${input.dataset.limit}`);

  function remember() {
    const state = [];
    if (filter.value) state.push(["filter", filter.value]);
    for (const input of inputs) if (input.value !== "") state.push([nameOf(input), input.value]);
    if (best.value !== best.dataset.first) state.push(["best", best.value]);
    const sorted = heads.find((head) => head.hasAttribute("aria-sort"));
    if (sorted) state.push(["sort", `${sorted.dataset.column} ${sorted.getAttribute("aria-sort")}`]);
    const changed = boxes.filter((box) => box.checked !== box.defaultChecked).map((box) => box.dataset.column);
    if (changed.length) state.push(["columns", changed.join(" ")]);
    address.replace((key) => !key.startsWith("chart."), state);
  }

  // A limit that this page has no field or no word for: no row may seem to keep it, so it stands in the filter.
  function asCondition(key, text) {
    const [, kind, column] = /^(limit|only)\.(.+)$/.exec(key);
    if (kind === "only") return `${column} ${text[0] === "!" ? "!=" : "=="} ${quoted(text.slice(1))}`;
    const least = Object.hasOwn(data.columns, column) && data.columns[column].better === "high";
    return `${column} ${least ? ">=" : "<="} ${text}`;
  }

  function recall() {
    const { state } = address.read();
    for (const input of inputs) input.value = "";
    const without = [];
    for (const [key, text] of state) {
      if (!/^(limit|only)\../.test(key) || text === "") continue;
      const input = inputs.find((one) => nameOf(one) === key);
      // A field of numbers takes no other text, and the browser complains of one.
      if (input && (input.type !== "number" || Number.isFinite(Number(text)))) input.value = text;
      if (!input?.value) without.push(asCondition(key, text));
    }
    const own = choice.read(state.get("filter") ?? "");
    const bracketed = own.condition && without.length ? `(${own.condition})` : own.condition;
    filter.value = without.length ? [...own.words, [...without, bracketed].filter(Boolean).join(" and ")].join(" ") : state.get("filter") ?? "";
    best.value = state.get("best") ?? best.dataset.first;
    if (best.selectedIndex < 0) best.value = best.dataset.first;
    const changed = (state.get("columns") ?? "").split(" ");
    for (const box of boxes) {
      box.checked = box.defaultChecked !== changed.includes(box.dataset.column);
      show(box);
    }
    const [column, order] = (state.get("sort") ?? "").split(" ");
    const head = heads.find((one) => one.dataset.column === column);
    if (head && Object.hasOwn(opposite, order)) sort(head, order);
    else {
      for (const other of heads) other.removeAttribute("aria-sort");
      rows.splice(0, rows.length, ...started);
      body.append(...rows);
    }
    apply();
  }

  const ofState = () => address.read().state.size > 0;
  function scroll() {
    const { anchor } = address.read();
    // The browser knows of no target where the choice follows its name.
    for (const row of rows) row.classList.toggle("target", ofState() && row.id === anchor);
    if (ofState()) document.getElementById(anchor || "table")?.scrollIntoView({ behavior: "instant" });
  }

  // --- what a person does ----------------------------------------------------------------------------------------

  for (const head of heads) {
    head.addEventListener("click", () => {
      const first = head.dataset.first === "desc" ? "descending" : "ascending";
      sort(head, opposite[head.getAttribute("aria-sort")] ?? first);
      remember();
    });
  }
  for (const input of [filter, best, ...inputs]) {
    input.addEventListener("input", () => { apply(); remember(); });
  }
  for (const box of boxes) box.addEventListener("change", () => { show(box); remember(); });
  document.getElementById("clear").addEventListener("click", () => {
    for (const input of [filter, ...inputs]) input.value = "";
    apply();
    remember();
  });
  document.getElementById("copy").addEventListener("click", async (event) => {
    const code = document.getElementById("command");
    const button = event.currentTarget;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // A page from a file may not write to the clipboard; what is selected, a person can copy.
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll(".chooser[open]")) if (!open.contains(event.target)) open.open = false;
  });
  // A link to a place in the page keeps the choice beside it.
  document.addEventListener("click", (event) => {
    const place = event.target.closest('a[href^="#"]')?.getAttribute("href");
    if (!place || place.includes("=") || !ofState() || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const next = `#${address.written(place.slice(1), address.read().state)}`;
    if (next === location.hash) scroll();
    else location.hash = next;
  });
  addEventListener("hashchange", () => { recall(); scroll(); });
  if (ofState()) recall();
  else {
    for (const input of [filter, ...inputs]) input.value = "";  // a browser keeps them over a reload
    best.value = best.dataset.first;
    for (const box of boxes) { box.checked = box.defaultChecked; }
    apply();
  }
  // Scripts that come later, such as that of the plots, listen by then.
  addEventListener("load", () => { announce(); if (address.read().anchor) scroll(); });
})();
