"""Labels in PVL, the Parameter Value Language of ISIS, PDS3 and ODL: a few values, by their dotted paths.

A parser makes objects of all that a label says, which takes it a tenth of a second. Here a label is walked
through once, word by word, to know where each value stands; only what is asked for is read. Nothing is
evaluated, and where a text may be read in two ways that is said instead of guessing. The rules are those of
CCSDS 641.0-B-2 and of the PDS Standards Reference 3.8, chapter 12, with what ISIS writes beside them:
comments from ``#`` to the end of a line, and words that ``-`` continues on the next one.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from datetime import datetime
from typing import NamedTuple, TypeAlias

from skystage.canon import Json
from skystage.errors import LabelCut, LabelError

# No possessive part has a choice within: before 3.11.5 Python got such wrong. What is skipped can be read in
# one way only, so nothing of it is ever given back.
_SKIP = r"\s*(?: (?: /\*[^*]*(?: \*(?!/)[^*]* )*\*/ | \#[^\n]*(?=\n|\Z) ) \s* )*"
_WORD = (
    r"(?> [+-]?(?:[2-9]|1[0-6])\#[+-]?[0-9A-Fa-f]+\#"
    r"""| (?: -[\n\r\f]\s* | /(?!\*) | [^\s\0"'<>{}(),=;\[\]&!\#%~|/] )+ )"""
)
_QUOTED = r"""(?: "[^"]*" | '[^']*' )"""
_UNIT = r"<[^>]*>"
_TOKEN = re.compile(
    rf"""{_SKIP} (?: (?P<word> {_WORD} ) | (?P<quoted> {_QUOTED} ) | (?P<unit> {_UNIT} )
    | (?P<mark> [=(){{}},;] ) | (?P<stop> \Z ) | (?P<odd> (?s:.) ) )""".encode(),
    re.VERBOSE,
)
_STATEMENT = re.compile(
    rf"""{_SKIP} (?P<name> {_WORD} ) {_SKIP} (?P<equals> = )
    (?P<said> {_SKIP} (?: (?P<word> {_WORD} ) (?! {_SKIP} = ) | {_QUOTED} ) (?: {_SKIP} {_UNIT} )?
    )?""".encode(),
    re.VERBOSE,
)
"""A name, and what it is set to where that is one word or text: most of a label, at one match each. A word
before another ``=`` is the name of the next, and nothing was said."""
_Match: TypeAlias = re.Match[bytes]
_ENDS = {
    "begin_group": "end_group",
    "group": "end_group",
    "begin_object": "end_object",
    "object": "end_object",
}
_RESERVED = {"end", *_ENDS, *_ENDS.values()}
_CLOSING = {b"(": b")", b"{": b"}"}
_DEEPEST = 16
"""Sequences within sequences; ODL knows two."""
_CONTINUED = re.compile(r"-[\n\r\v\f]\s*")
_WORDS = {"null": None, "true": True, "false": False}
_DECIMAL = re.compile(r"[+-]?(\d+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_BASED = re.compile(r"([+-]?)(\d+)#([+-]?)([0-9A-Fa-f]+)#", re.ASCII)
_DAY_OF_YEAR = re.compile(r"(\d{4}-\d{3})(T.*)?", re.ASCII)
_ASKED = re.compile(r"\[1\](?=\.|$)")


class Value(NamedTuple):
    """What a label says of one thing."""

    value: Json
    """A number, a text, true, false, None for ``NULL``, or a list of these.

    Times stay the text that they are; a day of the year becomes a date. A set is a list in its own order.
    """
    unit: Json = None
    """As the label spells it, ``deg``; None where there is none; of a list whose members differ a list."""


class Label:
    """A label that is whole.

    Parameters
    ----------
    content
        The label, and whatever comes behind its ``END``.
    name
        What errors call it.

    Attributes
    ----------
    end
        Bytes of the label, its ``END`` with it.

    Raises
    ------
    LabelCut
        If it ends before its ``END``.
    LabelError
        If it is no label.
    """

    def __init__(self, content: bytes, name: str = "label") -> None:
        self.name = name
        self._content = content
        self._places: dict[str, tuple[str, int, int]] = {}
        self.end = self._walk()

    def paths(self) -> list[str]:
        """Where values stand, as the label spells it: ``IsisCube.Table[2].Name`` in the second table."""
        return [path for path, _, _ in self._places.values()]

    def value(self, path: str) -> Value:
        """The value of a path, whose case does not matter.

        Of groups, or values, of one name it is the first, else that of the number: ``Table[2].Name``.

        Raises
        ------
        LabelError
            If there is none, or it cannot be told.
        """
        place = self._places.get(_ASKED.sub("", path).casefold())
        if place is None:
            raise LabelError(f"{self.name}: has no {path}", hint=self._nearest(path))
        spelled, start, end = place
        if start == end:
            raise LabelError(f"{self.name}: {spelled} has no value")
        try:
            value, unit, _ = self._read(start, 0)
        except _Unsure as unsure:
            raise LabelError(f"{self.name}: {spelled}: {unsure}") from None
        return Value(value, unit)

    def _nearest(self, path: str) -> str:
        folded = path.casefold()
        behind = [key for key in self._places if key.endswith(f".{folded}")]
        near = behind or difflib.get_close_matches(folded, self._places, 1)
        return f"did you mean {self._places[near[0]][0]!r}?" if near else f"it has {len(self._places)} values"

    # ----------------------------------------------------------------------------------------------
    # Where values stand

    def _walk(self) -> int:
        inside: list[tuple[str, str, str]] = []  # how the block ends, its name, and the path to it
        counts: list[Counter[str]] = [Counter()]
        path, at = "", 0
        while True:
            said = _STATEMENT.match(self._content, at)
            token = said or self._token(at)
            if said is None and token["mark"] == b";":
                at = token.end()
                continue
            if token["word"] is None and said is None:
                raise self._broken(token, "the name of a value is expected")
            part = "word" if said is None else "name"
            name, at = _name(token[part]), token.end(part)
            folded = name.casefold()
            if folded == "end":
                if inside:
                    raise self._broken(token, f"{inside[-1][1]} is not ended")
                return at
            if folded in _ENDS.values():
                if not inside or inside[-1][0] != folded:
                    raise self._broken(token, f"{name} ends nothing")
                _, block, path = inside.pop()
                counts.pop()
                if said is not None:  # it may say what it ends
                    if _name(said["word"] or b"").casefold() != block.casefold():
                        raise self._broken(said, f"the end of {block} is expected")
                    at = said.end("word")
                continue
            if said is None:
                raise self._broken(token, f"= is expected behind {name}")
            at = said.end("equals")
            if folded in _ENDS:
                if said["word"] is None:
                    raise self._broken(said, f"a name is expected behind {name} =")
                block, at = _name(said["word"]), said.end("word")
                inside.append((_ENDS[folded], block, path))
                path = f"{path}{_numbered(block, counts[-1])}."
                counts.append(Counter())
                continue
            spelled = f"{path}{_numbered(name, counts[-1])}"
            if said["said"] is None:
                end = self._skip(at)
            else:
                end = at if _name(said["word"] or b"").casefold() in _RESERVED else said.end()
            self._places[spelled.casefold()] = (spelled, at, end)
            at = end

    def _skip(self, at: int) -> int:
        """Where a set or a sequence ends; where it should begin, if another statement begins there."""
        token = self._token(at)
        if token["word"] is not None or token["mark"] == b";":
            return at
        depth = 0
        while True:
            if token["mark"] in _CLOSING:
                depth += 1
            elif depth and token["mark"] in _CLOSING.values():
                depth -= 1
            elif not depth or token["mark"] in (b"=", b";") or token["odd"] is not None:
                raise self._broken(token, "a value is expected")
            at = token.end()
            token = self._token(at)
            if not depth:
                return token.end() if token["unit"] is not None else at

    def _token(self, at: int) -> _Match:
        token = _TOKEN.match(self._content, at)
        assert token is not None  # noqa: S101 - the last alternative takes whatever there is
        if token["stop"] is not None:
            raise LabelCut(f"{self.name}: is no label, or was cut: it ends without END")
        return token

    def _broken(self, token: _Match, problem: str) -> LabelError:
        at = token.start("name" if token.re is _STATEMENT else token.lastgroup or 0)
        line = self._content.count(b"\n", 0, at) + 1
        return LabelError(f"{self.name}: is no label: line {line}: {problem}")

    # ----------------------------------------------------------------------------------------------
    # What they are

    def _read(self, at: int, depth: int) -> tuple[Json, Json, int]:
        """The value that begins here, its unit, and where it ends."""
        token = self._token(at)
        value: Json
        unit: Json = None
        if token["quoted"] is not None:
            value = _folded(_text(token["quoted"][1:-1]))
        elif token["word"] is not None:
            value = _plain(_CONTINUED.sub("", _text(token["word"])))
        elif token["mark"] in _CLOSING:
            if depth == _DEEPEST:
                raise _Unsure("it is too deep")
            value, unit, at = self._members(token.end(), _CLOSING[token["mark"]], depth + 1)
            token = self._token(at)
            if token["unit"] is None:
                return value, unit, at
            if unit is not None:
                raise _Unsure("it has a unit, and so have its members")
            return value, _folded(_text(token["unit"][1:-1])), token.end()
        else:
            raise _Unsure("something is missing between its members")
        at = token.end()
        token = self._token(at)
        if token["unit"] is not None:
            return value, _folded(_text(token["unit"][1:-1])), token.end()
        return value, unit, at

    def _members(self, at: int, closing: bytes, depth: int) -> tuple[list[Json], Json, int]:
        values: list[Json] = []
        units: list[Json] = []
        token = self._token(at)
        while token["mark"] != closing:
            if values:
                if token["mark"] != b",":
                    raise _Unsure("something else than , stands between its members")
                at = token.end()
            value, unit, at = self._read(at, depth)
            values.append(value)
            units.append(unit)
            token = self._token(at)
        same = not units or all(unit == units[0] for unit in units)
        return values, units[0] if units and same else (None if same else units), token.end()


class _Unsure(Exception):
    """A value that cannot be told, and why."""


def _name(word: bytes) -> str:
    text = word.decode(errors="replace")
    # Nearly all are one line: this is asked of every word.
    return text if text.isprintable() else _CONTINUED.sub("", text)


def _numbered(name: str, count: Counter[str]) -> str:
    folded = name.casefold()
    count[folded] += 1
    return name if count[folded] == 1 else f"{name}[{count[folded]}]"


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _Unsure("it is no text in UTF-8") from None


def _folded(text: str) -> str:
    """A text as it was before it was laid out in lines."""
    return " ".join(_CONTINUED.sub("", text).split())


def _plain(word: str) -> Json:
    """A word without quotes."""
    if (folded := word.casefold()) in _WORDS:
        return _WORDS[folded]
    if decimal := _DECIMAL.fullmatch(word):
        number = float(word)
        if not math.isfinite(number):
            raise _Unsure(f"{word} is no finite number")
        return int(word) if decimal[1].isdigit() else number
    if based := _BASED.fullmatch(word):
        first, base, second, digits = based.groups()
        try:
            return int(f"{first}{second}{digits}", int(base))
        except ValueError:
            raise _Unsure(f"{word} is no number") from None
    if day := _DAY_OF_YEAR.fullmatch(word):
        try:
            return f"{datetime.strptime(day[1], '%Y-%j').date()}{day[2] or ''}"  # noqa: DTZ007 - a date alone
        except ValueError:
            return word
    if not word:
        raise _Unsure("it cannot be told where it ends")
    try:
        float(word)
    except ValueError:
        return word
    raise _Unsure(f"it cannot be told whether {word} is a number")
