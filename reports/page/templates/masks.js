"use strict";
(() => {
  const viewer = document.getElementById("viewer");
  const sets = self.maskbenchMasks ?? [];
  const { photographs = {}, pages = {}, labels = {} } = self.maskbenchPictures ?? {};
  const images = sets.flatMap((set) => set.images.map((image, place) => ({ set, image, place, key: image.name })));
  if (!viewer || !images.length) return;
  images.forEach((one, at) => {
    // Two datasets may hold files of one name.
    const before = images.slice(0, at).filter((other) => other.image.name === one.image.name).length;
    if (before) one.key += `~${before + 1}`;
  });

  const TRUTH = "truth";
  const KINDS = { found: "", false: "F", missed: "M", crowd: "O", uncounted: "O" };
  const WORDS = { found: "found", false: "false", missed: "missed", crowd: "in a crowd", uncounted: "not counted" };
  const byId = (name) => document.getElementById(`viewer-${name}`);
  const stage = byId("stage");
  const state = { at: 0, left: TRUTH, right: TRUTH, border: 50, lit: "" };
  const svgNode = (name, attributes = {}, ...inside) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...inside);
    return node;
  };
  const htmlNode = (name, attributes = {}, ...inside) => {
    const node = Object.assign(document.createElement(name), attributes);
    node.append(...inside);
    return node;
  };

  const current = () => images[state.at];
  const shows = (kind) => viewer.querySelector(`[data-shows=${kind === "crowd" || kind === "uncounted" ? "other" : kind}]`).checked;
  const rowOf = (set, side) => set.rows.find((row) => row.rows.includes(side));
  const labelOf = (set, side) => (side === TRUTH ? "Ground truth" : rowOf(set, side)?.label ?? "no such row");
  const models = (set) => [TRUTH, ...set.rows.map((row) => row.row)];

  /* What is on one side: entries {kind, class, score, iou, path, object, name}. */
  function instances(side) {
    const { set, image, place } = current();
    const truth = image.objects.map(([category, crowd, path, coarse], object) => ({ category, crowd, path, coarse, object }));
    if (side === TRUTH) {
      return truth.map((one) => ({ ...one, kind: one.crowd ? "crowd" : "found", score: null, iou: null, name: `${one.object + 1}` }));
    }
    const row = rowOf(set, side);
    const of = row?.images[place];
    if (!of?.detections) return [];
    const least = row.untrained ? -Infinity : Number(byId("score").value);
    const listed = of.detections
      .map(([category, score, kind, object, iou, path, coarse], n) => ({ category, score, kind, object, iou, path, coarse, name: `${KINDS[kind]}${n + 1}` }))
      .filter((one) => one.score >= least);
    const found = new Set(listed.filter((one) => one.kind === "found").map((one) => one.object));
    const missed = truth.filter((one) => !one.crowd && !found.has(one.object));
    return [...listed, ...missed.map((one) => ({ ...one, kind: "missed", score: null, iou: null, name: `M${one.object + 1}` }))];
  }

  const hue = (n) => `hsl(${Math.round((n * 222.49 + 30) % 360)} 95% ${62 - 9 * (n % 2)}%)`;

  function colour(one) {
    const by = byId("colour").value === "auto" ? (state.oneClass ? "instance" : "class") : byId("colour").value;
    if (by === "kind" || one.kind === "missed" || one.kind === "crowd" || one.kind === "uncounted") return null;
    if (by === "instance") return hue(one.kind === "false" ? 1000 + Number(one.name.slice(1)) : one.object);
    return current().set.classes[one.category]?.[1] ?? null;
  }

  function drawn(one, side) {
    const kind = one.kind === "crowd" || one.kind === "uncounted" ? "other" : one.kind;
    const paint = colour(one);
    const group = svgNode("g", { "data-name": `${side}:${one.name}` });
    const mark = svgNode("path", { class: `mark ${kind}`, d: one.path, ...(paint ? { style: `--hue:${paint}` } : {}) }, svgNode("title", {}, words(one)));
    group.append(svgNode("path", { class: "halo", d: one.path }), mark, svgNode("path", { class: `hatch ${kind}`, d: one.path }));
    group.addEventListener("pointerenter", () => light(`${side}:${one.name}`));
    group.addEventListener("pointerleave", () => light(""));
    return group;
  }

  const className = (one) => current().set.classes[one.category]?.[0] ?? "unknown class";
  const number = (value) => (value === null ? "" : value.toFixed(3));
  const words = (one) =>
    [`${one.name} ${className(one)}`, WORDS[one.kind], one.score === null ? "" : `score ${number(one.score)}`, one.iou === null ? "" : `IoU ${number(one.iou)}`,
      one.coarse ? "outline coarsened" : ""].filter(Boolean).join(", ");

  function light(name) {
    state.lit = name;
    for (const node of viewer.querySelectorAll("[data-name]")) {
      const lit = node.dataset.name === name;
      (node.querySelector(".mark") ?? node).classList.toggle("lit", lit);
    }
  }

  function draw() {
    const { set, image, place } = current();
    const { width, height } = image;
    const sides = { left: state.left, right: state.right };
    const svg = svgNode("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${image.name}: ${labelOf(set, state.left)} and ${labelOf(set, state.right)}` });
    // As large as the window lets it be, but no more than four times its pixels.
    byId("frame").style.width = `min(100%, ${(78 * width) / height}vh, ${2 * width}px)`;
    const clips = ["left", "right"].map((side) => svgNode("clipPath", { id: `viewer-${side}-clip` }, svgNode("rect", { y: 0, height, id: `viewer-${side}-part` })));
    svg.append(svgNode("defs", {}, ...clips));
    if (image.photograph) svg.append(svgNode("image", { href: photographs[image.photograph] ?? "", width, height }));
    const notes = image.reason ? [image.reason] : [];
    if (state.absent) notes.unshift(`${state.absent} is not among the images here`);
    const shown = Object.fromEntries(Object.entries(sides).map(([side, of]) => [side, instances(of)]));
    // Where all masks are of one class, its colour tells nothing.
    state.oneClass = new Set(Object.values(shown).flatMap((listed) => listed.map((one) => one.category))).size < 2;
    for (const [side, of] of Object.entries(sides)) {
      const row = of === TRUTH ? null : rowOf(set, of);
      const listed = shown[side];
      const group = svgNode("g", { "clip-path": `url(#viewer-${side}-clip)` });
      if (shows("truth") && of !== TRUTH) {
        for (const [, crowd, path] of image.objects) if (!crowd) group.append(svgNode("path", { class: "halo", d: path }), svgNode("path", { class: "mark truth", d: path }));
      }
      const visible = listed.filter((one) => one.path && shows(one.kind));
      group.append(...visible.map((one) => drawn(one, side)));
      svg.append(group);
      list(side, of, listed);
      const said = of === TRUTH ? "" : !row ? "this row has no masks here: it was measured on other data, or is not among those shown" : row.reason || row.images[place]?.note;
      if (said) notes.push(`${labelOf(set, of)}: ${said}`);
      if (row?.untrained) notes.push(`${row.label}: random weights, its ${set.top} highest scores`);
    }
    svg.append(svgNode("line", { class: "viewer-border", id: "viewer-border", y1: 0, y2: height }), svgNode("circle", { class: "viewer-grip", id: "viewer-grip", cy: height / 2 }));
    for (const [side, of] of Object.entries(sides)) byId(`name-${side}`).textContent = labelOf(set, of);
    stage.replaceChildren(svg);
    byId("status").textContent = [`Image ${state.at + 1} of ${images.length}`, set.rows.length < set.models ? `the best ${set.rows.length} of ${set.models} models are here` : "", ...notes].filter(Boolean).join(". ");
    nameMarks(svg);
    border();
  }

  /* Names stand at the marks, at a size that does not follow that of the picture. */
  function nameMarks(svg) {
    for (const text of svg.querySelectorAll(".mark-name")) text.remove();
    const scale = svg.viewBox.baseVal.width / (svg.getBoundingClientRect().width || svg.viewBox.baseVal.width);
    for (const group of svg.querySelectorAll("g[data-name]")) {
      const box = group.querySelector(".mark").getBBox();
      const name = group.dataset.name.split(":")[1];
      group.append(svgNode("text", { class: "mark-name", x: box.x + box.width / 2, y: box.y + box.height / 2 + 5 * scale, "text-anchor": "middle", "font-size": 13 * scale, "stroke-width": 3 * scale }, name));
    }
    svg.querySelector("#viewer-grip").setAttribute("r", 8 * scale);
  }

  function border() {
    const svg = stage.querySelector("svg");
    const { width } = current().image;
    const x = (width * state.border) / 100;
    svg.querySelector("#viewer-left-part").setAttribute("width", x);
    const right = svg.querySelector("#viewer-right-part");
    right.setAttribute("x", x);
    right.setAttribute("width", width - x);
    for (const end of ["x1", "x2"]) svg.querySelector("#viewer-border").setAttribute(end, x);
    svg.querySelector("#viewer-grip").setAttribute("cx", x);
    byId("slide").value = state.border;
  }

  function list(side, of, listed) {
    const { set } = current();
    const row = of === TRUTH ? null : rowOf(set, of);
    const count = (kind) => listed.filter((one) => one.kind === kind).length;
    const counts = of === TRUTH ? `${count("found")} objects` : !row?.images[current().place]?.detections ? "no masks" : `${count("found")} found, ${count("missed")} missed, ${count("false")} false`;
    const page = row && pages[row.row];
    const name = page ? htmlNode("a", { href: page }, labelOf(set, of)) : labelOf(set, of);
    const caption = htmlNode("caption", {}, name, `: ${counts}`);
    const head = htmlNode("thead", {}, htmlNode("tr", {}, ...["Mark", "Class", "What", "Score", "IoU"].map((text, n) =>
      htmlNode("th", { scope: "col", className: n > 2 ? "num" : "" }, text))));
    const body = htmlNode("tbody", {}, ...listed.map((one) => {
      const full = `${side}:${one.name}`;
      const button = htmlNode("button", { type: "button", title: "Show it in the image" }, one.name);
      button.addEventListener("focus", () => light(full));
      button.addEventListener("blur", () => light(""));
      button.addEventListener("click", () => { state.border = side === "left" ? 100 : 0; border(); light(full); });
      const line = htmlNode("tr", {}, htmlNode("td", {}, button), htmlNode("td", {}, className(one)), htmlNode("td", {}, of !== TRUTH ? WORDS[one.kind] : one.crowd ? "crowd" : "object"),
        htmlNode("td", { className: "num" }, number(one.score)), htmlNode("td", { className: "num" }, number(one.iou)));
      line.dataset.name = full;
      line.addEventListener("pointerenter", () => light(full));
      line.addEventListener("pointerleave", () => light(""));
      return line;
    }));
    byId(`list-${side}`).replaceChildren(caption, head, body);
  }

  function choices() {
    const { set } = current();
    for (const side of ["left", "right"]) {
      const options = models(set).map((of) => htmlNode("option", { value: of }, labelOf(set, of)));
      // A row of another dataset can be asked for by the address, and is then told to have no masks here.
      if (!models(set).includes(representative(set, state[side]))) options.push(htmlNode("option", { value: state[side] }, labels[state[side]] ?? `row ${state[side]}`));
      byId(side).replaceChildren(...options);
      byId(side).value = representative(set, state[side]);
    }
    byId("image").value = state.at;
  }

  const representative = (set, side) => (side === TRUTH ? TRUTH : rowOf(set, side)?.row ?? side);

  /* What another part of the page keeps in the address, ``#filter=...``, stays behind it. */
  function address() {
    const others = location.hash.slice(1).replace(/^[^&=]*(&|$)/, "");
    return `#masks/${[current().key, state.left, state.right].map(encodeURIComponent).join("/")}${others ? `&${others}` : ""}`;
  }

  /* Show the state; ``keep`` writes it into the address, from which it can be opened again. */
  function show(keep) {
    if (keep) state.absent = "";
    choices();
    draw();
    if (!keep) return;
    try { history.replaceState(null, "", address()); } catch { /* a page in a frame may not */ }
  }

  function defaults(set) {
    const there = set.rows.filter((row) => row.images.length).map((row) => row.row);
    const [first = TRUTH, second] = there.length ? there : models(set).slice(1);
    return second === undefined ? { left: TRUTH, right: first } : { left: first, right: second };
  }

  function goTo(at, keep = true) {
    const before = current().set;
    state.at = (at + images.length) % images.length;
    if (current().set !== before) Object.assign(state, defaults(current().set));
    show(keep);
  }

  function step(side, by) {
    const all = models(current().set);
    const here = all.indexOf(representative(current().set, state[side]));
    state[side] = all[(Math.max(here, 0) + by + all.length) % all.length];
    show(true);
  }

  function swap() {
    [state.left, state.right] = [state.right, state.left];
    show(true);
  }

  const side = (text) => (text === TRUTH || !/^\d+$/.test(text) ? TRUTH : Number(text));

  /* ``#masks/IMAGE/LEFT/RIGHT``: a file name, and numbers of rows or "truth". */
  function fromAddress() {
    const parts = /^#masks\/([^/]*)\/([^/]*)\/([^/&]*)(?:&.*)?$/.exec(location.hash);
    if (!parts) return false;
    let image = parts[1];
    try { image = decodeURIComponent(image); } catch { /* as it stands */ }
    const at = images.findIndex((one) => one.key === image);
    state.absent = at < 0 ? image : "";
    Object.assign(state, { left: side(parts[2]), right: side(parts[3]) }, at < 0 ? {} : { at });
    show(false);
    viewer.scrollIntoView({ behavior: "instant" });
    return true;
  }

  /* ``maskbench:masks`` with ``{rows: [a, b], image}``: what a table or a plot asks for. */
  document.addEventListener("maskbench:masks", ({ detail = {} }) => {
    const [left, right = TRUTH] = detail.rows ?? [];
    const named = images.findIndex((one) => one.key === detail.image);
    const at = named >= 0 ? named : images.findIndex((one) => rowOf(one.set, left));
    if (at >= 0 && !(named < 0 && rowOf(current().set, left))) state.at = at;
    Object.assign(state, { left: left ?? TRUTH, right });
    show(true);
    viewer.scrollIntoView({ behavior: "instant" });
    stage.focus({ preventScroll: true });
  });

  const keys = {
    n: () => goTo(state.at + 1), p: () => goTo(state.at - 1), x: swap, l: () => step("left", 1), r: () => step("right", 1), L: () => step("left", -1), R: () => step("right", -1),
    ArrowLeft: () => moveBorder(state.border - 2), ArrowRight: () => moveBorder(state.border + 2), Home: () => moveBorder(0), End: () => moveBorder(100),
  };
  for (const box of viewer.querySelectorAll("[data-shows]")) {
    keys[box.dataset.key] = () => { box.checked = !box.checked; draw(); };
    box.addEventListener("change", draw);
  }

  function moveBorder(to) {
    state.border = Math.min(100, Math.max(0, to));
    border();
  }

  stage.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  const toPointer = (event) => {
    const box = stage.querySelector("svg").getBoundingClientRect();
    moveBorder((100 * (event.clientX - box.left)) / box.width);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    toPointer(event);
  });
  stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) toPointer(event); });
  byId("slide").addEventListener("input", (event) => moveBorder(Number(event.target.value)));
  byId("image").addEventListener("change", (event) => goTo(Number(event.target.value)));
  for (const name of ["left", "right"]) byId(name).addEventListener("change", (event) => { state[name] = side(event.target.value); show(true); });
  for (const button of viewer.querySelectorAll("button[data-do]")) button.addEventListener("click", () => keys[button.dataset.do]());
  byId("score").addEventListener("input", (event) => { byId("score-shown").textContent = Number(event.target.value).toFixed(2); draw(); });
  byId("colour").addEventListener("change", draw);
  window.addEventListener("hashchange", fromAddress);
  new ResizeObserver(() => { const svg = stage.querySelector("svg"); if (svg) nameMarks(svg); }).observe(stage);

  byId("image").append(...images.map((one, at) => htmlNode("option", { value: at }, sets.length > 1 ? `${one.set.name}: ${one.key}` : one.key)));
  byId("score").min = Math.min(...sets.map((set) => set.least));
  viewer.hidden = false;
  Object.assign(state, defaults(images[0].set));
  if (!fromAddress()) show(false);
})();
