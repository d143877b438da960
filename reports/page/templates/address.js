"use strict";
// ``#ANCHOR&key=value&...``: the place in the page, such as plots or masks/IMAGE/LEFT/RIGHT, and then what was chosen.
const address = (() => {
  function read() {
    const [, anchor, state] = /^#?(?:([^&=]*)(?:&|$))?(.*)$/.exec(location.hash);
    return { anchor: anchor ?? "", state: new URLSearchParams(state) };
  }
  const written = (anchor, state) => [anchor, state.toString()].filter(Boolean).join("&");

  // Whoever holds some keys replaces them by others, [[key, value], ...]; those of others stay.
  function replace(holds, chosen, place = "") {
    const { anchor, state } = read();
    const others = [...state].filter(([key]) => !holds(key));
    const text = written(anchor || (chosen.length ? place : ""), new URLSearchParams([...chosen, ...others]));
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }
  return { read, written, replace };
})();
