"""Maps as they are typed, ``{CATEGORY: CLASS}``, in a spelling in which Hydra reads every name.

A name has quotation marks of either kind as in YAML, and needs them only where it does there: where it holds a comma, a
brace, a bracket, or a colon before a blank, and where it begins with a mark or begins or ends with a blank.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from bench.schema.typed.hydra_text import QUOTED, READ_AS_IT_STANDS, decoded, encoded, quoted

_BLANK = " \t\r\n"
_BLANKS = re.compile(rf"[{_BLANK}]*")
_IN_MARKS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_ESCAPES = re.compile(r"\\(?:x(?P<x>[0-9A-Fa-f]{2})|U(?P<u>[0-9A-Fa-f]{8})|.)", re.DOTALL)
_YAMLS_OWN = dict(zip("0aevN_LP ", "\0\a\x1b\v\x85\xa0\u2028\u2029 ", strict=True))
_INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{")
_HYDRAS_ESCAPES = re.compile(r"\\([\\()\[\]{}:=, \t])")
_CALL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*[ \t]*\(")


class NotAMapError(ValueError):
    """A text is no map. The message is the rest of a sentence that begins with the text."""


def names_spelled(value: str) -> str:
    """Spell a value, or those of a sweep, as Hydra reads it: with other names in its maps, and with marks around texts.

    What Hydra reads as it stands is left: a number, ``a b``, ``choice(1,2)``. A text that it cannot read gets quotation
    marks, also in a list and in a map: ``/tmp/run (1)``, ``it's``, ``[été]``. A call of a function is never a text.

    Raises:
        NotAMapError: a map in it has no colon behind a name, or a name twice.
    """
    return _Reader(value, escapes=True).elements("")


def texts_spelled(value: str, levels: int, null: bool) -> str:
    """Spell a map of which every value is a text; several maps with commas between them are a sweep.

    levels: how many maps may stand in each other
    null: ``null`` is no value, else it is a text like any other

    Raises:
        NotAMapError: it is none, or has a name twice.
    """
    reader = _Reader(value, escapes=False)
    maps = []
    while reader.takes("{"):
        maps.append(reader.map_of(lambda name: reader.text_of(name, levels - 1, null)))
        if not reader.takes(","):
            break
    if rest := value[reader.place :].strip(_BLANK):
        raise NotAMapError(f"{rest!r} belongs to no map")
    return ",".join(maps)


class _Reader:
    """Goes once through a value; ``place`` is how far it has come.

    escapes: outside of quotation marks a backslash takes the meaning from the character behind it, as in Hydra
    """

    def __init__(self, value: str, escapes: bool) -> None:
        self.value, self.place, self.escapes = value, 0, escapes

    def elements(self, end: str) -> str:
        """Take the elements of a list, or of a sweep, before the mark that ends them."""
        taken = [self.element(f",{end}")]
        while self.takes(","):
            taken.append(self.element(f",{end}"))
        return ",".join(taken)

    def element(self, ends: str) -> str:
        """Take a text, a number, a list or a map, before one of the characters ``ends``, and spell it."""
        self._skip_blanks()
        begin = self.place
        if self.takes("{"):
            own = self.map_of(lambda _: self.element(",}"))
        elif self.takes("["):
            own = f"[{self.elements(']')}]"
            if not self.takes("]"):
                return self._up_to(len(self.value)) if self.place == begin else self.value[begin:]
        else:
            return self._text_before(ends)
        self._skip_blanks()
        if self._char() and self._char() not in ends:  # neither a list nor surely a text: Hydra refuses it
            self.place = self._end_of_element(ends)
            return self.value[begin : self.place]
        return own

    def _text_before(self, ends: str) -> str:
        whole = QUOTED.match(self.value, self.place)
        if whole and re.match(rf"[{_BLANK}]*([{re.escape(ends)}]|\Z)", self.value[whole.end() :]):
            return self._up_to(whole.end())
        begin, self.place = self.place, self._end_of_element(ends)
        text = self.value[begin : self.place].strip(_BLANK)
        if _CALL.match(text) and text.endswith(")"):
            return _Reader(text, escapes=True)._hydras_own("")
        is_open = "," in text and any(text.count(a) != text.count(b) for a, b in ("()", "[]", "{}"))
        return text if is_open or READ_AS_IT_STANDS.fullmatch(text) else quoted(text)

    def _hydras_own(self, ends: str) -> str:
        """Take what stands before one of the characters ``ends``, and spell the maps in it and nothing else."""
        parts = []
        while (char := self._char()) and char not in ends:
            if self.takes("{"):
                parts.append(self.map_of(lambda _: self._hydras_own(",}").strip(_BLANK)))
            elif char in "[(":
                self.place += 1
                parts.append(char + self._hydras_own("])"))
            else:
                marked = QUOTED.match(self.value, self.place)
                parts.append(self._up_to(marked.end() if marked else self._after_char(self.place)))
        return "".join(parts)

    def map_of(self, value_of: Callable[[str], str]) -> str:
        """Take a map, whose first brace is taken already.

        value_of: takes the value of a name and spells it
        """
        pairs: dict[str, str] = {}
        while not self.takes("}"):
            name = self._name()
            if name in pairs:
                raise NotAMapError(f"{name!r} stands twice in one map")
            pairs[name] = value_of(name)
            self._skip_blanks()
            if not self.takes(",") and self._char() != "}":
                raise NotAMapError(f"a comma or a brace is missing behind the value of {name!r}")
        return "{" + ",".join(f"{encoded(name)}: {value}" for name, value in pairs.items()) + "}"

    def text_of(self, name: str, levels: int, null: bool) -> str:
        """Take the text that is the value of a name, or a map of texts where ``levels`` are left."""
        begin = self.place
        self._skip_blanks()
        if levels and self.takes("{"):
            return self.map_of(lambda inner: self.text_of(inner, levels - 1, null))
        text = self._in_marks()
        if text is None:
            text = self._up_to(self._end_of_text()).strip(_BLANK)
            if not text:
                raise NotAMapError(f"the value of {name!r} is missing")
            if re.search(rf":[{_BLANK}]", text):
                raise NotAMapError(f"a comma is missing in {text!r}")
            if ":" in text and self.value[begin] not in _BLANK:
                raise NotAMapError(f"which colon ends the name is open in {name + ':' + text!r}")
            if null and text.lower() == "null":
                return text
        return _read_alike(text)

    def takes(self, char: str) -> bool:
        """Take a character, with the blanks before it; else give False."""
        place = self._after_blanks()
        if self.value[place : place + 1] != char:
            return False
        self.place = place + 1
        return True

    def _name(self) -> str:
        """Take a name and its colon."""
        self._skip_blanks()
        name = self._in_marks()
        if name is not None:
            if not self.takes(":"):
                raise NotAMapError(f"a colon is missing behind {name!r}")
            return name
        text = self.value[self.place : self._end_of_text()]
        # As in YAML, the colon behind a name is one before a blank; where there is none Hydra takes any.
        escaped = r"(?<!\\)" if self.escapes else ""
        colon = re.search(escaped + rf""":(?=[{_BLANK}]|\Z|["'])""", text) or re.search(f"{escaped}:", text)
        if colon is None:
            raise NotAMapError(f"a colon is missing behind {text.strip(_BLANK)!r}")
        self.place += colon.end()
        name = text[: colon.start()].strip(_BLANK)
        return _HYDRAS_ESCAPES.sub(r"\1", name) if self.escapes else name

    def _in_marks(self) -> str | None:
        """Take what stands in quotation marks; None where no mark comes next."""
        if self._char() not in ("'", '"'):
            return None
        marked = _IN_MARKS.match(self.value, self.place)
        if marked is None:
            raise NotAMapError(f"a quotation mark is missing behind {self.value[self.place :]!r}")
        self.place = marked.end()
        if marked[0].startswith("'"):
            return marked[0][1:-1].replace("''", "'")
        try:
            return str(json.loads(_ESCAPES.sub(_as_in_json, marked[0]), strict=False))
        except ValueError:
            raise NotAMapError(f"a backslash in {marked[0]} has no meaning; double it") from None

    def _char(self) -> str:
        return self.value[self.place : self.place + 1]

    def _up_to(self, place: int) -> str:
        begin, self.place = self.place, place
        return self.value[begin:place]

    def _after_blanks(self) -> int:
        blanks = _BLANKS.match(self.value, self.place)
        return blanks.end() if blanks else self.place

    def _skip_blanks(self) -> None:
        self.place = self._after_blanks()

    def _end_of_text(self) -> int:
        place = self.place
        while self.value[place : place + 1] and self.value[place] not in ",{}[]":
            place = self._after_char(place)
        return place

    def _end_of_element(self, ends: str) -> int:
        """Give the place of the first of the characters ``ends`` that stands within no bracket."""
        place, depth = self.place, 0
        marks = bool(_CALL.match(self.value, place))  # elsewhere a mark is an apostrophe
        while char := self.value[place : place + 1]:
            if not depth and char in ends:
                return place
            depth = max(0, depth + (char in "([{") - (char in ")]}"))
            marked = QUOTED.match(self.value, place) if marks else None
            place = marked.end() if marked else self._after_char(place)
        return place

    def _after_char(self, place: int) -> int:
        """Give the place behind a character, or behind what Hydra takes as one: an escape, or ``${...}``."""
        if self.escapes and self.value.startswith("\\", place):
            return min(place + 2, len(self.value))
        depth = 0
        for end in range(place, len(self.value)):
            depth += self.value.startswith("${", end) - (self.value[end] == "}" and depth > 0)
            if not depth:
                return end + 1
        return len(self.value)


def _as_in_json(escape: re.Match[str]) -> str:
    """Spell an escape that YAML has and JSON has not."""
    code = escape["x"] or escape["u"]
    char = _YAMLS_OWN.get(escape[0][1:]) if code is None else chr(int(code, 16))
    return escape[0] if char is None else json.dumps(char)[1:-1]


def _read_alike(text: str) -> str:
    """Spell a text so that Hydra reads it and so does this module: the base of a gate gets the spelling for Hydra."""
    if decoded(text) != text:
        return text
    if _INTERPOLATION.search(text):
        return quoted(text)
    if "'" not in text and "${" not in text and not text.endswith("\\"):
        return f"'{text}'"
    return f'"{text}"' if not re.search(r'["\\]', text) else encoded(text)
