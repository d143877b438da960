// The grammar of conditions, as reports/table/condition.py reads it: a test holds the two to the same answers.
const conditions = (() => {
  const digits = "[0-9]+(?:_[0-9]+)*";
  const token = new RegExp(
    "(?<space>[ \\t\\r\\n]+)|(?<name>[A-Za-z_][A-Za-z0-9_]*)" +
    `|(?<number>(?:${digits}\\.(?:${digits})?|\\.${digits}|${digits})(?:[eE][+-]?${digits})?(?![A-Za-z0-9_.]))` +
    "|(?<word>'(?:[^'\\\\\\r\\n]|\\\\['\"\\\\])*'|\"(?:[^\"\\\\\\r\\n]|\\\\['\"\\\\])*\")|(?<sign>[<>]=?|[=!]=|[()-])", "y");
  const holds = {
    "==": (a, b) => oneIs(a, b), "!=": (a, b) => !oneIs(a, b), ">=": (a, b) => a >= b, "<=": (a, b) => a <= b,
    ">": (a, b) => a > b, "<": (a, b) => a < b,
  };

  // A list holds the words of one cell: one of them must be that word.
  const oneIs = (a, b) => [a].flat().some((word) => [b].flat().includes(word));

  // What a condition compares of a cell; null where it is not known.
  function held({ words, empty }, value) {
    if (words !== undefined) return (value ?? "").split(", ");
    return value === null && empty !== undefined ? "" : value;
  }

  // The ratio of Python's difflib.SequenceMatcher, so that both name the same nearest columns.
  function matches(a, b, alo, ahi, blo, bhi) {
    let [besti, bestj, size, lengths] = [alo, blo, 0, new Map()];
    for (let i = alo; i < ahi; i++) {
      const next = new Map();
      for (let j = blo; j < bhi; j++) {
        if (a[i] !== b[j]) continue;
        const k = (lengths.get(j - 1) ?? 0) + 1;
        next.set(j, k);
        if (k > size) [besti, bestj, size] = [i - k + 1, j - k + 1, k];
      }
      lengths = next;
    }
    if (size === 0) return 0;
    return size + matches(a, b, alo, besti, blo, bestj) + matches(a, b, besti + size, ahi, bestj + size, bhi);
  }

  function nearest(name, known) {
    const names = [...known].sort();
    const scored = names.map((one) => [2 * matches(one, name, 0, one.length, 0, name.length) / (one.length + name.length), one]);
    const close = scored.filter(([score]) => score >= 0.6).sort((a, b) => b[0] - a[0] || (a[1] < b[1] ? 1 : -1)).slice(0, 3);
    if (close.length) return `did you mean ${close.map(([, one]) => one).join(" or ")}?`;
    const more = names.length > 12 ? ` and ${names.length - 12} more` : "";
    return `available: ${names.slice(0, 12).join(", ")}${more}`;
  }

  function tokens(text) {
    const found = [];
    token.lastIndex = 0;
    while (token.lastIndex < text.length) {
      const match = token.exec(text);
      if (match === null) return null;
      const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
      if (kind !== "space") found.push({ kind, text: match[0], start: match.index, end: match.index + match[0].length });
    }
    return found;
  }

  // columns: {name: {text: whether it holds text, empty: what an empty cell means if that is known, words: all that it
  // can hold, if several in one cell}}; rules: what Python says of all conditions
  function parse(given, columns, rules) {
    const text = given.trim();
    const refuse = (why) => { throw new Error(why); };
    const unread = () => refuse(`'${given}': cannot be read; ${rules.allowed}`);
    if (text.length > rules.longest) {
      refuse(`a condition of ${text.length} characters; at most ${rules.longest} are taken`);
    }
    const list = tokens(text) ?? unread();
    let [place, depth] = [0, 0];
    const is = (...words) => list[place] !== undefined && words.includes(list[place].text) && list[place].kind !== "word";
    const node = (kind, start, parts) => ({ kind, start, end: list[place - 1]?.end ?? start, ...parts });
    const source = (part) => text.slice(part.start, part.end);

    function joined(word, inner) {
      const start = list[place]?.start;
      const parts = [inner()];
      while (is(word)) { place++; parts.push(inner()); }
      return parts.length === 1 ? parts[0] : node(word, start, { parts });
    }
    const either = () => joined("or", every);
    const every = () => joined("and", negated);
    function negated() {
      const start = list[place]?.start;
      if (!is("not")) return compared();
      place++;
      const inner = negated();
      return node("not", start, { inner });
    }
    function compared() {
      const start = list[place]?.start;
      const operands = [operand()];
      const signs = [];
      while (is(...Object.keys(holds))) { signs.push(list[place++].text); operands.push(operand()); }
      return signs.length ? node("compare", start, { operands, signs }) : operands[0];
    }
    function operand() {
      const one = list[place++] ?? unread();
      if (one.text === "-" && one.kind === "sign") {
        const inner = operand();
        return node("minus", one.start, { inner });
      }
      if (one.text === "(" && one.kind === "sign") {
        if (++depth > rules.deepest) unread();
        const inner = either();
        if (!is(")")) unread();
        place++;
        depth--;
        return inner;
      }
      if (one.kind === "name" && !["and", "or", "not"].includes(one.text)) return node("name", one.start, { name: one.text });
      if (one.kind === "word") return node("word", one.start, { value: one.text.slice(1, -1).replace(/\\(.)/g, "$1") });
      // Python has no decimal integers that begin with a zero.
      if (one.kind !== "number" || /^0[0_]*[1-9][0-9_]*$/.test(one.text)) unread();
      return node("number", one.start, { value: Number(one.text.replaceAll("_", "")) });
    }

    function number(part) {
      if (part.kind === "minus") {
        const inner = number(part.inner);
        return inner === null ? null : -inner;
      }
      return part.kind === "number" && Number.isFinite(part.value) ? part.value : null;
    }
    function isText(part) {
      if (part.kind === "name") {
        if (!Object.hasOwn(columns, part.name)) {
          refuse(`${part.name}: no such column; ${nearest(part.name, Object.keys(columns))} (words stand in quotes)`);
        }
        return columns[part.name].text;
      }
      if (part.kind === "word") return true;
      if (number(part) === null) refuse(`'${text}': ${source(part)} is not allowed; ${rules.allowed}`);
      return false;
    }
    function checkWord(one, word) {
      const words = one.kind === "name" && word.kind === "word" ? columns[one.name].words : undefined;
      if (words === undefined || ["", ...words].includes(word.value)) return;
      refuse(`${word.value}: no such mark; ${nearest(word.value, words)}`);
    }
    function check(part) {
      if (part.kind === "and" || part.kind === "or") part.parts.forEach(check);
      else if (part.kind === "not") check(part.inner);
      else if (part.kind === "compare") {
        const kinds = part.operands.map(isText);
        part.signs.forEach((sign, n) => {
          if (kinds[n] !== kinds[n + 1]) refuse(`'${text}': ${source(part)} compares a number with a word; ${rules.allowed}`);
          if (kinds[n] && !["==", "!="].includes(sign)) {
            refuse(`'${text}': ${source(part)}: words can be == or != only, as library == 'mmdet'`);
          }
        });
        part.operands.slice(1).forEach((two, n) => {
          for (const [one, word] of [[part.operands[n], two], [two, part.operands[n]]]) checkWord(one, word);
        });
        part.values = part.operands.map((one) => (one.kind === "word" ? one.value : one.kind === "name" ? null : number(one)));
      } else {
        isText(part);
        refuse(`'${text}': ${source(part)} is no condition; ` +
          (part.kind === "name" ? `give one, as ${part.name} >= 20` : rules.allowed));
      }
    }

    const tree = either();
    if (place < list.length) unread();
    check(tree);
    return made(text, tree, columns);
  }

  function made(text, tree, columns) {
    const names = [];
    const read = (cell) => (name) => held(columns[name], cell(name));
    (function walk(part) {
      if (part.kind === "name" && !names.includes(part.name)) names.push(part.name);
      for (const inner of part.parts ?? part.operands ?? (part.inner ? [part.inner] : [])) walk(inner);
    })(tree);
    return {
      text,
      columns: names,
      either: tree.kind === "or",
      parts: () => (tree.kind === "and" ? tree.parts.map((part) => made(text.slice(part.start, part.end), part, columns)) : [made(text, tree, columns)]),
      met: (cell) => met(tree, read(cell), () => null) === true,
      // true, false, or null where it is not known well enough
      decided(cell, ends) {
        const [byValue, byInterval] = [met(tree, read(cell), () => null), met(tree, read(cell), ends)];
        return byInterval === null && byValue !== null ? null : byValue === true;
      },
    };
  }

  const all = (outcomes, decisive) =>
    outcomes.includes(decisive) ? decisive : outcomes.includes(null) ? null : !decisive;

  function met(part, cell, ends) {
    if (part.kind === "not") {
      const inner = met(part.inner, cell, ends);
      return inner === null ? null : !inner;
    }
    if (part.kind !== "compare") return all(part.parts.map((one) => met(one, cell, ends)), part.kind === "or");
    const values = part.operands.map((one, n) => (one.kind === "name" ? cell(one.name) : part.values[n]));
    if (values.includes(null)) return null;
    const spans = part.operands.map((one, n) => {
      const found = one.kind === "name" ? ends(one.name) : null;
      return found === null ? [values[n], values[n], values[n]] : [found[0], values[n], found[1]];
    });
    return all(part.signs.map((sign, n) => compare(sign, spans[n], spans[n + 1])), false);
  }

  function compare(sign, first, second) {
    if (sign === "==" || sign === "!=") return holds[sign](first[1], second[1]);
    const outcomes = new Set([first[0], first[2]].flatMap((a) => [second[0], second[2]].map((b) => holds[sign](a, b))));
    return outcomes.size === 1 ? [...outcomes][0] : null;
  }

  return { parse, nearest };
})();
