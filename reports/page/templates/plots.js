"use strict";
(() => {
  const held = document.getElementById("charts-data");
  if (!held || !window.DecompressionStream) return;
  const data = JSON.parse(held.textContent);
  const section = document.getElementById("plots");
  const views = {};
  let shown = null; // the numbers of the rows that the table's filter leaves; null: all
  let library = null;

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const visible = () => (shown ? data.rows.filter((row) => shown.has(row.row)) : data.rows);

  /* The library is a compressed text in the page, or beside it, which becomes a script when a chart comes into view. */
  async function packed() {
    const held = document.getElementById("charts-library");
    if (!held.dataset.beside) return held.textContent;
    await new Promise((resolve, reject) => {
      document.head.append(element("script", { src: held.dataset.beside, onload: resolve, onerror: () => reject(new Error(`${held.dataset.beside} is not there`)) }));
    });
    return window.maskbenchCharts;
  }

  function load() {
    library ??= (async () => {
      const bytes = Uint8Array.from(atob(await packed()), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      document.head.append(element("script", { type: "module", textContent: await new Response(stream).text() }));
      while (!window.vegaEmbed) await new Promise((done) => setTimeout(done, 5));
    })();
    return library;
  }

  function figureOf(name) {
    const all = [...section.querySelectorAll(`figure[data-chart="${name}"]`)];
    for (const other of all.slice(1)) other.hidden = true; // one picture for each group; the chart has a choice instead
    if (all.length) return all[0];
    const made = element("figure", {}, element("h3", { textContent: "Trade-off" }), element("figcaption"));
    made.dataset.chart = name;
    section.querySelector("h2").after(made);
    return made;
  }

  const number = (value, decimals) => value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

  function written(row, name) {
    const values = row.figures[name];
    if (!values) return "";
    const axis = data.axes[name];
    const decimals = Math.abs(values[0]) < 1 ? 3 : axis.decimals;
    const interval = values.length === 3 ? ` [${number(values[1], decimals)}, ${number(values[2], decimals)}]` : "";
    return `${number(values[0], decimals)}${interval}${axis.unit ? ` ${axis.unit}` : ""}`;
  }

  const choice = { x: null, y: null, log: null, group: null };

  function points() {
    const { x, y } = choice;
    const sign = data.axes[x].better === "low" ? -1 : 1;
    const ofTime = data.axes[x].of_time || data.axes[y].of_time;
    const rows = visible().filter((row) => row.group === choice.group && row.figures[x] && row.figures[y]);
    return rows.map((row) => {
      const [across, left, right] = row.figures[x];
      const [up, low, high] = row.figures[y];
      const tip = { Row: row.name };
      for (const name of new Set([y, x, "fps_model", "process_device_mb"])) {
        if (row.figures[name]) tip[data.axes[name].short] = written(row, name);
      }
      if (row.marks) tip.Marks = row.marks;
      return {
        row: row.row, name: row.name, library: row.library, colour: row.colour, marks: row.marks, x: across, y: up,
        ...(left === undefined ? {} : { x_low: left, x_high: right }), ...(low === undefined ? {} : { y_low: low, y_high: high }),
        toward: sign * across, trusted: row.trusted || !ofTime, of: rows.length, tip,
      };
    });
  }

  const wide = (values) => values.length && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 12;
  const scale = (log, padding) => ({ ...(log ? { type: "log" } : { type: "linear", zero: false }), nice: false, padding });

  /* Each maker gives the specification of its chart for the rows that are shown, or null where there is none. */
  const makers = {
    tradeoff(spec) {
      const values = points();
      const log = choice.log ?? wide(values.map((point) => point.x));
      Object.assign(spec.encoding.x, { title: data.axes[choice.x].title, scale: scale(log, 36) });
      spec.encoding.y.title = data.axes[choice.y].title;
      spec.data.values = values;
      list(values);
      return values.length ? spec : null;
    },
    throughput(spec) {
      const rows = visible().filter((row) => row.line);
      const lines = new Set([...new Set(rows.map((row) => row.line))].slice(0, data.most.throughput));
      spec.data.values = rows.filter((row) => lines.has(row.line)).map((row) => ({ ...row, fps: row.figures.fps_model[0] }));
      for (const part of spec.layer) if (part.encoding.color) {
        const { domain, range } = part.encoding.color.scale;
        const kept = domain.map((name, place) => [name, range[place]]).filter(([name]) => lines.has(name));
        part.encoding.color.scale = { domain: kept.map(([name]) => name), range: kept.map(([, colour]) => colour) };
      }
      return lines.size ? spec : null;
    },
  };
  /* The scale on which the longest bar leaves room for what is written behind it, in pixels. */
  const leaving = (pixels, longest) => ({ nice: false, domainMax: { expr: `${longest} / max(0.2, 1 - ${pixels} / max(width, 1))` } });

  function stages(spec, rows) {
    const names = spec.layer[0].transform[0].fold;
    const written = (ms) => (ms === undefined ? "–" : number(ms, ms >= 100 ? 0 : ms >= 1 ? 1 : 2)).length + 3;
    const sum = (row) => names.reduce((total, key) => total + (row[key] ?? 0), 0);
    const letters = Math.max(0, ...rows.map((row) => names.reduce((total, key) => total + written(row[key]), written(sum(row)))));
    const longest = Math.max(0, ...rows.map((row) => Math.max(sum(row), row.whole ?? 0)));
    spec.layer[0].encoding.x.scale = leaving(6 * letters, longest);
  }

  for (const name of Object.keys(data.needs)) {
    makers[name] = (spec) => {
      const rows = visible().filter((row) => data.needs[name].some((key) => row[key] !== undefined)).slice(0, data.most[name]);
      spec.data.values = rows;
      if (name === "memory") {
        spec.data.values = rows.map((row) => ({ ...row, marks: "" }));
        const longest = Math.max(0, ...rows.flatMap((row) => data.needs.memory.map((key) => row[key] ?? 0)));
        spec.encoding.x.scale = leaving(50, longest);
      }
      if (name === "stages") stages(spec, rows);
      if (name === "latency") {
        const log = wide(rows.flatMap((row) => row.samples));
        for (const part of spec.layer) {
          part.encoding.x.scale = log ? { type: "log", nice: false, padding: 14 } : { zero: true };
          part.encoding.x.title = `milliseconds a batch (${log ? "logarithmic; " : ""}less is better)`;
        }
      }
      return rows.length ? spec : null;
    };
  }

  /* On a phone the names of rows stand in lines of their own, since beside a chart they would take all of it. */
  function narrow(spec, width) {
    if (width >= 620) return;
    if (spec.layer[0].transform?.[0].fold) spec.layer[0].encoding.x.scale = {}; // no sums stand behind the bars
    if (spec.encoding.y.field === "label") {
      spec.encoding.y.axis = { labelExpr: "split(replace(datum.label, / · /g, '\\n'), '\\n')", labelLimit: 120, labelLineHeight: 12, labelFontSize: 10, labelOffset: -12 };
      spec.height.step = Math.max(spec.height.step, 56);
    }
    spec.config.legend.columns = 1;
    spec.config.axisX.titleAnchor = "end"; // below the names there is room, where below a short axis there is none
    spec.layer = spec.layer.filter((part) => part.mark.dx !== 8); // sums of stages, which find no room
  }

  /* The mark that writes names; it cannot avoid a mark that has no item. */
  function named(values, width) {
    const made = structuredClone(data.names);
    made.encode.enter.limit = { value: width / 2 }; // a name that finds no room at all
    const there = { front_marks: "trusted", layer_1_marks: "y_low", layer_2_marks: "x_low" };
    made.transform[0].avoidMarks = Object.keys(there).filter((mark) => values.some((value) => value[there[mark]]));
    return made;
  }

  async function draw(name) {
    const figure = figureOf(name);
    let place = figure.querySelector(".live");
    if (!place) {
      place = element("div", { className: "live" });
      place.setAttribute("role", "group");
      place.setAttribute("aria-label", figure.querySelector("h3").textContent);
      (figure.querySelector(".still") ?? figure.querySelector("figcaption")).before(place);
    }
    await load();
    const spec = makers[name](structuredClone(data.specs[name]));
    views[name]?.finalize();
    if (!spec) {
      place.replaceChildren(element("p", { className: "quiet", textContent: "No row that is shown has these figures." }));
    } else {
      spec.config.axisX.labelFlush = 16; // a number at the end of an axis would be cut off
      narrow(spec, place.clientWidth);
      // As a number: the compiler warns of steps beside a width that follows the page.
      if (spec.height.step) spec.height = spec.height.step * spec.data.values.length;
      const patch = (vega) => (name === "tradeoff" ? { ...vega, marks: [...vega.marks, named(spec.data.values, place.clientWidth)] } : vega);
      const options = { ast: true, renderer: "svg", actions: false, logLevel: 1, patch, tooltip: { theme: "custom" } };
      const { view } = await window.vegaEmbed(place, spec, options);
      views[name] = view;
      view.addEventListener("click", (_, item) => { if (item?.datum?.row !== undefined) choose(item.datum.row, figure); });
    }
    const still = figure.querySelector(".still");
    if (still) still.hidden = true;
    figure.dataset.drawn = String(Number(figure.dataset.drawn ?? 0) + 1);
  }

  /* A point leads to its row in the table, to the page of its model and to its masks. */
  function links(number) {
    const line = document.querySelector(`#main tr[data-row="${number}"]`);
    const made = [];
    if (line) made.push(link("Row in the table", "#table", () => flash(line)));
    const page = line?.querySelector("th a[href]");
    if (page) made.push(link("Page", page.getAttribute("href")));
    const masks = document.getElementById("masks");
    if (masks) made.push(link("Masks", "#masks", () => document.dispatchEvent(new CustomEvent("maskbench:masks", { detail: { rows: [number] } }))));
    return made.flatMap((each, place) => (place ? [" · ", each] : [each]));
  }

  function link(text, href, act) {
    const made = element("a", { textContent: text, href });
    if (act) made.addEventListener("click", act);
    return made;
  }

  function flash(line) {
    requestAnimationFrame(() => {
      line.scrollIntoView({ block: "center" });
      line.classList.remove("flash");
      void line.offsetWidth; // so that it flashes again
      line.classList.add("flash");
    });
  }

  function choose(number, figure) {
    const row = data.rows.find((each) => each.row === number);
    let place = figure.querySelector(".chosen");
    if (!place) {
      place = element("p", { className: "chosen" });
      place.setAttribute("role", "status");
      figure.querySelector(".live").after(place);
    }
    const facts = ["mask_ap", "fps_model"].filter((name) => row.figures[name]).map((name) => `${data.axes[name].short} ${written(row, name)}`);
    place.replaceChildren(element("strong", { textContent: row.name }), facts.length ? `: ${facts.join(", ")}. ` : " ", ...links(number));
    const line = document.querySelector(`#main tr[data-row="${number}"]`);
    if (line) flash(line);
  }

  /* The points as a table: for the keyboard, and for who cannot see the chart. */
  function list(values) {
    const figure = figureOf("tradeoff");
    figure.querySelector(".points")?.remove();
    const heads = ["Row", data.axes[choice.y].title, data.axes[choice.x].title, ""].map((text) => element("th", { textContent: text, scope: "col" }));
    const lines = [...values].sort((a, b) => b.y - a.y).map((point) => {
      const row = data.rows.find((each) => each.row === point.row);
      return element("tr", {}, element("th", { scope: "row", textContent: point.name }), element("td", { textContent: written(row, choice.y) }),
        element("td", { textContent: written(row, choice.x) }), element("td", {}, ...links(point.row)));
    });
    const table = element("table", { className: "dense" }, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines));
    const box = element("div", { className: "scroll", tabIndex: 0 }, table);
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Points of the chart");
    figure.append(element("details", { className: "points" }, element("summary", { textContent: "The points as a table" }), box));
  }

  function select(label, options, value, act) {
    const box = element("select", {}, ...options.map(([key, text]) => element("option", { value: key, textContent: text, selected: key === value })));
    box.addEventListener("change", () => { act(box.value); remember(); drawn("tradeoff"); });
    return element("label", {}, label, box);
  }

  /* The choice stands in the address as text; what the rows choose by themselves does not. */
  let first = null;
  const scales = { "": null, linear: false, log: true };
  const texts = (each) => ({
    up: each.y, across: each.x, on: each.group,
    scale: Object.keys(scales).find((key) => scales[key] === each.log),
  });

  function remember() {
    const [now, then] = [texts(choice), texts(first)];
    const chosen = Object.keys(now).filter((key) => now[key] !== then[key]).map((key) => [`chart.${key}`, now[key]]);
    address.replace((key) => key.startsWith("chart."), chosen, "plots");
  }

  /* A page of other rows may lack what an address names: then the chart begins as it does without. */
  function recall() {
    const { state } = address.read();
    const asked = (key, possible, otherwise) => (possible.includes(state.get(`chart.${key}`)) ? state.get(`chart.${key}`) : otherwise);
    choice.y = asked("up", data.y, first.y);
    choice.x = asked("across", data.x, first.x);
    choice.group = asked("on", data.rows.map((row) => row.group), first.group);
    choice.log = scales[asked("scale", Object.keys(scales), "")];
  }

  function choices() {
    const groups = [...new Set(data.rows.map((row) => row.group).filter(Boolean))];
    const count = (group) => data.rows.filter((row) => row.group === group && row.figures[choice.y] && row.figures[choice.x]).length;
    choice.y = data.y[0];
    const both = (name) => data.rows.some((row) => row.group && row.figures[name] && row.figures[choice.y]);
    const may = ["fps_model", ...data.x].filter((name) => data.x.includes(name) && name !== choice.y);
    choice.x = may.find(both) ?? may[0];
    if (!choice.x || !choice.y || !groups.length) return false;
    choice.group = groups.reduce((best, group) => (count(group) > count(best) ? group : best), groups[0]);
    first = { ...choice };
    recall();
    const titles = (names) => names.map((name) => [name, data.axes[name].title]);
    const parts = [
      select("Up", titles(data.y), choice.y, (value) => { choice.y = value; }),
      select("Across", titles(data.x), choice.x, (value) => { choice.x = value; }),
      select("Scale", [["", "fitting"], ["linear", "linear"], ["log", "logarithmic"]], texts(choice).scale, (value) => { choice.log = scales[value]; }),
    ];
    if (groups.length > 1) parts.push(select("Measured on", groups.map((group) => [group, group]), choice.group, (value) => { choice.group = value; }));
    const boxes = element("div", { className: "choices" }, ...parts);
    figureOf("tradeoff").querySelector("h3").after(boxes);
    addEventListener("hashchange", () => {
      const before = JSON.stringify(choice);
      recall();
      if (JSON.stringify(choice) === before) return;
      const { up, across, scale, on } = texts(choice);
      for (const [place, box] of boxes.querySelectorAll("select").entries()) box.value = [up, across, scale, on][place];
      if (seen.has("tradeoff")) drawn("tradeoff");
    });
    const caption = figureOf("tradeoff").querySelector("figcaption");
    const files = caption.querySelector(".files");
    caption.replaceChildren("The line joins the rows that are shown and that no other one beats in both figures; it leaves out rows whose speed is " +
      "never called the best. Thin lines are 95 % confidence intervals. The speed of a hollow point means less than it seems. " +
      "Point at a row for its figures; click it for its place in the table. ", ...(files ? [files] : []));
    return true;
  }

  const seen = new Set();
  let queue = Promise.resolve();
  const drawn = (name) => { queue = queue.then(() => draw(name)).catch((error) => console.error(error)); };
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const name = entry.target.dataset.chart;
      if (!entry.isIntersecting || seen.has(name)) continue;
      seen.add(name);
      drawn(name);
    }
  }, { rootMargin: "800px" });
  for (const name of Object.keys(data.specs)) {
    if (name === "tradeoff" && !choices()) continue;
    watch.observe(figureOf(name));
  }

  let wait = 0;
  document.addEventListener("maskbench:rows", (event) => {
    shown = new Set(event.detail);
    clearTimeout(wait);
    wait = setTimeout(() => { for (const name of seen) drawn(name); }, 60);
  });
})();
