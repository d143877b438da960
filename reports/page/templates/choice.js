"use strict";
// The filter and the limits beside the table: which rows are left, which is the best, why the others fell out.
const choice = (() => {
  const data = JSON.parse(document.getElementById("figures").textContent);
  const table = document.getElementById("main");
  const rows = [...table.tBodies[0].rows].filter((row) => row.dataset.row !== undefined);
  const inputs = [...document.querySelectorAll("[data-limit]")];
  const filter = document.getElementById("filter");
  const best = document.getElementById("best");
  const number = (row) => Number(row.dataset.row);
  const known = (row) => data.rows[row.dataset.row];

  // The first cell of each column, since the table has a cell for every column in every row.
  const places = new Map([...table.tHead.rows[0].cells].map((head, place) => [head.dataset.column, place]));
  const cellOf = (row, column) => row.cells[places.get(column)];
  function value(row, column) {
    if (column === "model") return known(row).model;
    const held = places.has(column) ? cellOf(row, column).dataset.value : "";
    return held === "" ? null : data.columns[column].text ? held : Number(held);
  }
  function ends(row, column) {
    const found = known(row).ends[column];
    return found === undefined ? null : [found[0] ?? -Infinity, found[1] ?? Infinity];
  }

  const quoted = (word) => `'${word.replace(/[\\']/g, "\\$&")}'`;
  function limits() {
    return inputs.filter((input) => input.value !== "").map((input) => {
      const { limit, sign } = input.dataset;
      if (sign) return `${limit} ${sign} ${Number(input.value)}`;
      return input.value[0] === "!" ? `${limit} != ${quoted(input.value.slice(1))}` : `${limit} == ${quoted(input.value.slice(1))}`;
    });
  }

  // Words before a condition are searched for; a text without a comparison is words alone.
  function read(text) {
    if (!/[<>=!]/.test(text)) return { words: text.split(/\s+/).filter(Boolean), condition: "" };
    const words = [];
    let rest = text.trim();
    for (let found; (found = /^([^\s<>=!'"()]+)\s+(?![\s<>=!])(?=\S)/.exec(rest));) {
      if (["not", "and", "or"].includes(found[1]) || Object.hasOwn(data.columns, found[1])) break;
      if (/^(and|or)\s/.test(rest.slice(found[0].length)) || /^[-\d.]/.test(found[1])) break;
      words.push(found[1]);
      rest = rest.slice(found[0].length);
    }
    return { words, condition: rest };
  }

  const parse = (text) => conditions.parse(text, data.columns, data.rules);

  function printed(row, column) {
    const cell = cellOf(row, column);
    return cell === undefined || cell.dataset.value === "" ? "" : cell.firstChild.nodeValue;
  }

  // A figure is printed with as many decimals as it takes to see on which side of the limit it lies.
  function figure(row, column, condition) {
    const text = printed(row, column);
    const held = value(row, column);
    if (typeof held !== "number" || condition === null) return text;
    const met = condition.met((name) => value(row, name));
    let shown = text;
    for (let more = (text.split(".")[1] ?? "").length; more < 18; more++) {
      if (condition.met((name) => (name === column ? Number(shown) : value(row, name))) === met) break;
      shown = held.toFixed(more + 1);
    }
    return shown;
  }

  function said(row, condition) {
    const texts = condition.columns.map((column) => {
      const shown = value(row, column) === null ? "" : column === "model" ? known(row).model : figure(row, column, condition);
      const text = shown || data.columns[column].empty || (data.columns[column].text ? "not known" : "not measured");
      const interval = places.has(column) ? cellOf(row, column).querySelector(".interval") : null;
      const grey = known(row).noise.includes(column) ? " (not to be compared)" : "";
      const alone = ends(row, column) && !interval ? " (too few or too unequal batches for an interval)" : "";
      return `${condition.columns.length > 1 ? `${column} ` : ""}${text}${interval ? ` ${interval.textContent}` : alone}${grey}`;
    });
    return texts.join(", ") || "not met";
  }

  // Gives of each row whether it meets the condition, null where that is open, and why it does not.
  function judge(row, condition) {
    const { status, reason } = known(row);
    if (status !== "ok") return { met: false, why: `${status}${reason ? `: ${reason}` : ""}` };
    const decide = (one) => one.decided((name) => value(row, name), (name) => ends(row, name));
    const met = decide(condition);
    const parts = met === true ? [] : condition.parts().filter((one) => decide(one) === met);
    return { met, why: parts.map((one) => `${one.text}: ${said(row, one)}`).join("; ") };
  }

  // Why a row is never the best in a column; "" where it may be.
  function barred(row, column) {
    if (known(row).status !== "ok" || value(row, column) === null) return "not measured";
    if (known(row).noise.includes(column)) return "not to be compared";
    return data.columns[column].timed ? known(row).never : "";
  }

  function ranked(left, column) {
    const sign = data.columns[column].better === "high" ? -1 : 1;
    const may = left.filter((row) => barred(row, column) === "").sort((a, b) => number(a) - number(b));
    return may.sort((a, b) => sign * (value(a, column) - value(b, column)));
  }

  function alike(first, others, column) {
    if (column === "mask_ap") {
      const pairs = (a, b) => known(a).alike.includes(number(b));
      return others.filter((row) => pairs(first, row) || pairs(row, first));
    }
    const span = (row) => data.rows[row.dataset.row].ends[column];
    const finite = (found) => found && !found.includes(null);
    return others.filter((row) => finite(span(row)) && finite(span(first)) &&
      span(row)[0] <= span(first)[1] && span(first)[0] <= span(row)[1]);
  }

  // What a shell reads back as the same word.
  const shell = (word) =>
    /^[\w./:@%+,-]+$/.test(word) ? word : /["$`\\!]/.test(word) ? `'${word.replaceAll("'", "'\\''")}'` : `"${word}"`;

  function sources() {
    if (location.protocol !== "file:") return ["DIR"];
    const folder = decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "").replace(/^\/([A-Za-z]:)/, "$1");
    return data.sources.map((one) => {
      const parts = folder.split("/");
      for (const part of one.split("/")) {
        if (part === "..") parts.pop();
        else if (part !== ".") parts.push(part);
      }
      return parts.join("/") || "/";
    });
  }

  function command(where) {
    const parts = ["python -m reports", ...sources().map(shell)];
    if (where) parts.push("--where", shell(where).replace(/^[\w].*/, '"$&"'));
    if (best.value) parts.push("--best", best.value);
    return parts.join(" ");
  }

  function where(condition) {
    const own = condition === null ? [] : [condition.either ? `(${condition.text})` : condition.text];
    return [...limits(), ...own].join(" and ");
  }

  function link(row) {
    const made = document.createElement("a");
    made.href = `#row-${row.dataset.row}`;
    made.textContent = known(row).label;
    return made;
  }

  function list(id, entries) {
    const place = document.getElementById(id);
    place.hidden = entries.length === 0;
    place.querySelector("ul").replaceChildren(...entries.map(([row, why]) => {
      const [item, name] = [document.createElement("li"), document.createElement("b")];
      name.textContent = known(row).label;
      item.append(name, `: ${why}`);
      return item;
    }));
  }

  // What the command says after "!": in what the rows differ that must be equal, and which figures are noise.
  function warnings(left, condition) {
    const differ = (kinds) => new Set(left.map((row) => kinds[number(row)]).filter((kind) => kind !== null)).size > 1;
    const found = data.unlike.filter(({ kinds }) => differ(kinds));
    const texts = [["forbidden", false], ["told", true]].map(([rule, chosen]) => {
      const words = found.filter((one) => one.chosen === chosen).map((one) => one.words);
      return words.length ? data.rules[rule].replace("{}", () => words.join(" and ")) : "";
    });
    const grey = (condition?.columns ?? []).filter((column) => column !== best.value && Object.hasOwn(data.grey, column));
    if (grey.length) texts.push(`${grey.map((column) => data.grey[column]).join(" and ")}, ${data.rules.noise}`);
    return texts.filter(Boolean).map((text) =>
      Object.assign(document.createElement("span"), { className: "warning", textContent: `! ${text}` }));
  }

  function tell(left, open, asked, condition) {
    const place = document.getElementById("within");
    const first = best.value ? ranked(left, best.value) : [];
    for (const row of rows) row.classList.toggle("first", asked && row === first[0]);
    if (place === null) return;
    place.hidden = !asked;
    const words = place.querySelector("dd");
    if (first.length === 0) {
      words.textContent = open.length ? "No row is known to be one; see those that are not known well enough." : "No row.";
      words.append(...warnings([], condition));
      return;
    }
    const close = alike(first[0], first.slice(1), best.value);
    const title = [...best.options].find((option) => option.value === best.value).textContent;
    const unit = data.columns[best.value].unit;
    words.replaceChildren(link(first[0]), ` (${title} ${printed(first[0], best.value)}${unit ? ` ${unit}` : ""})`);
    close.slice(0, 3).forEach((row, n) => words.append(n ? ", " : ", not distinguishable from ", link(row)));
    if (close.length > 3) words.append(` and ${close.length - 3} more`);
    words.append(`; the best of ${left.length} row${left.length === 1 ? "" : "s"}.`, ...warnings(first, condition));
  }

  function apply() {
    const refused = document.getElementById("refused");
    refused.hidden = true;
    const text = filter.value;
    const { words, condition } = read(text);
    let [own, all, asked] = [null, null, ""];
    try {
      own = condition ? parse(condition) : null;
      asked = where(own);
      all = asked ? parse(asked) : null;
    } catch (error) {
      refused.textContent = error.message;
      refused.hidden = false;
      filter.setAttribute("aria-invalid", "true");
      return;
    }
    filter.removeAttribute("aria-invalid");
    const [left, open, fallen] = [[], [], []];
    for (const row of rows) {
      const searched = row.dataset.text.toLowerCase();
      const missing = words.filter((word) => !searched.includes(word.toLowerCase()));
      const judged = all === null ? { met: true } : judge(row, all);
      const met = missing.length ? false : judged.met;
      row.hidden = met === false;
      row.classList.toggle("unsure", met === null);
      row.querySelector(".pill.open")?.remove();
      if (met === null) {
        const pill = Object.assign(document.createElement("b"), { className: "pill open", title: judged.why });
        pill.textContent = "not known well enough";
        row.querySelector("th small").append(" ", pill);
      }
      if (met === true) left.push(row);
      else if (met === null) open.push([row, judged.why]);
      else fallen.push([row, missing.length ? `has no ${missing.map((word) => `“${word}”`).join(" and no ")}` : judged.why]);
    }
    const changed = asked !== "" || words.length > 0;
    document.getElementById("count").textContent = !changed ? `${rows.length} row${rows.length === 1 ? "" : "s"}`
      : `${left.length} of ${rows.length} rows${open.length ? `, ${open.length} not known well enough` : ""}`;
    tell(left.filter((row) => known(row).status === "ok"), open, changed, all);
    list("open", open);
    list("fallen", changed ? fallen : []);
    document.getElementById("command").textContent = command(asked);
    document.getElementById("unsaid").textContent =
      words.length ? ` The page alone searches for the words ${words.join(" ")}; the command does not.` : "";
    announce();
  }

  const shown = () => rows.filter((row) => !row.hidden).map(number);
  const announce = () => document.dispatchEvent(new CustomEvent("maskbench:rows", { detail: shown() }));

  return { apply, announce, rows, value, read, quoted, filter, best, inputs, cellOf, places, data };
})();
