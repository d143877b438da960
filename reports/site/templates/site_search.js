"use strict";
(() => {
  const entries = JSON.parse(document.getElementById("entries").textContent);
  const texts = entries.map(([kind, title, more]) => `${kind} ${title} ${more}`.toLowerCase());
  const tokens = texts.map((text) => new Set(text.split(/[\s,·]+/)));
  const input = document.getElementById("search");
  const list = document.getElementById("found");
  const count = document.getElementById("count");
  const most = 50;

  function line([kind, title, more, address]) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = address;
    link.textContent = title;
    const small = document.createElement("small");
    small.textContent = ` ${kind}${more ? `, ${more}` : ""}`;
    item.append(link, small);
    return item;
  }

  function search() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    // Where words stand whole comes first: "family 12" is not "family 112".
    const whole = (place) => words.filter((word) => tokens[place].has(word)).length;
    const places = words.length ? [...entries.keys()].filter((place) => words.every((word) => texts[place].includes(word))) : [];
    const found = places.sort((a, b) => whole(b) - whole(a)).map((place) => entries[place]);
    list.replaceChildren(...found.slice(0, most).map(line));
    list.hidden = !found.length;
    count.textContent = words.length ? `${found.length} found${found.length > most ? `, the first ${most} are shown` : ""}` : "";
    history.replaceState(null, "", words.length ? `#q=${encodeURIComponent(input.value)}` : location.pathname + location.search);
  }

  const asked = /^#q=(.*)$/.exec(location.hash);
  if (asked) {
    input.value = asked[1];
    try { input.value = decodeURIComponent(asked[1]); } catch { /* as it stands */ }
  }
  input.addEventListener("input", search);
  if (input.value) search();
})();
