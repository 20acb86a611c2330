"""The scanner of PVL labels: equal to pvl wherever it answers, and it says where it does not."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any

import pvl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pvl.collections import PVLGroup, PVLObject, Quantity
from pvl.decoder import OmniDecoder
from pvl.encoder import ISISEncoder, ODLEncoder, PVLEncoder
from pvl.grammar import OmniGrammar
from pvl.parser import EmptyValueAtLine

from skystage.errors import LabelCut, LabelError
from skystage.pvl import Label, Value

DECODER = OmniDecoder(grammar=OmniGrammar())


def said(text: str, path: str = "A") -> Value:
    return Label(f"{text}\nEND\n".encode()).value(path)


def value(text: str) -> Any:
    return said(f"A = {text}").value


# --------------------------------------------------------------------------------------------------
# Against pvl


def walked(module: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values of a module, under the paths that we give them."""
    seen: dict[str, int] = {}
    for name, one in module.items():
        folded = name.casefold()
        seen[folded] = seen.get(folded, 0) + 1
        here = path + (name if seen[folded] == 1 else f"{name}[{seen[folded]}]")
        if isinstance(one, PVLGroup | PVLObject):
            yield from walked(one, f"{here}.")
        else:
            yield here, one


def same(ours: Any, unit: Any, theirs: Any) -> bool:
    if isinstance(theirs, Quantity):
        return unit == theirs.units and same(ours, None, theirs.value)
    if isinstance(theirs, list):
        units = unit if isinstance(unit, list) else [unit] * len(theirs)
        return len(ours) == len(theirs) and all(map(same, ours, units, theirs))
    if isinstance(theirs, frozenset):
        # It has no order, and knows each member once.
        units = unit if isinstance(unit, list) else [unit] * len(ours)
        return len(ours) >= len(theirs) and all(
            any(same(one, its, other) for one, its in zip(ours, units, strict=True)) for other in theirs
        )
    if unit is not None:
        return False
    if isinstance(theirs, dt.date | dt.time):
        return isinstance(ours, str) and DECODER.decode(ours) == theirs
    return type(ours) is type(theirs) and ours == theirs


def test_all_values_of_all_recorded_labels_are_what_pvl_says(recordings):
    files = sorted((recordings / "astro" / "usgs-stac-kaguya").glob("*/*.pvl"))
    files += sorted((recordings / "astro" / "usgs-stac-kaguya").glob("*/*.lbl"))
    if not files:
        pytest.skip("no recorded labels")
    compared = 0
    for path in files:
        content = path.read_bytes()
        ours, theirs = Label(content, path.name), list(walked(pvl.loads(content.decode())))
        assert ours.paths() == [place for place, _ in theirs]
        assert ours.end == len(content.rstrip())
        for place, one in theirs:
            assert same(*ours.value(place), one), (path, place)
        compared += len(theirs)
    assert (len(files), compared) == (27, 4338)


NAMES = st.from_regex(r"[A-Z][A-Za-z0-9]{0,6}(_[a-z0-9]{1,3})?", fullmatch=True).filter(
    lambda name: (
        name.casefold().removeprefix("end_").removeprefix("begin_") not in {"end", "group", "object"}
        and name.casefold() not in {"null", "true", "false"}
    )
)
TEXTS = st.text("abcXYZ 012.-_:/+<>(){}=,;#'&%$*\n\tés", max_size=24)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
UNITS = st.sampled_from(["deg", "km^2", "W/m**2/micron/sr", "degC"])
TIMES = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001
SIMPLE = (
    TEXTS
    | NUMBERS
    | st.none()
    | st.booleans()
    | TIMES
    | TIMES.map(lambda moment: moment.date())
    | st.builds(Quantity, NUMBERS, UNITS)
)
VALUES = SIMPLE | st.lists(SIMPLE, min_size=1, max_size=4) | st.frozensets(st.integers() | NAMES, min_size=1)


def blocks(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(st.tuples(NAMES, VALUES | children), min_size=1, max_size=4)
    return items.map(PVLGroup) | items.map(PVLObject)


MODULES = st.lists(
    st.tuples(NAMES, VALUES | st.recursive(blocks(VALUES), blocks, max_leaves=6)), min_size=1, max_size=6
).map(pvl.PVLModule)


@pytest.mark.parametrize("encoder", [PVLEncoder, ODLEncoder, ISISEncoder])
@settings(max_examples=40, deadline=None)  # pvl takes its time
@given(module=MODULES)
def test_what_pvl_writes_is_read_as_pvl_reads_it(encoder, module):
    try:
        text = pvl.dumps(module, encoder=encoder())
        theirs = list(walked(pvl.loads(text)))
    except (ValueError, TypeError, pvl.exceptions.LexerError):
        assume(False)  # not every dialect can write, or read, everything
    ours = Label(text.encode())
    assert ours.paths() == [path for path, _ in theirs]
    for path, one in theirs:
        try:
            found = ours.value(path)
        except LabelError as error:
            unsure = ("cannot be told whether", "no finite number", "has no value")
            assert any(reason in error.message for reason in unsure)  # noqa: PT017
            assert ("no value" in error.message) is isinstance(one, EmptyValueAtLine)  # noqa: PT017
            continue
        assert same(*found, one), (path, text)


# --------------------------------------------------------------------------------------------------
# One by one

LABEL = b"""PDS_VERSION_ID = PDS3 /* a comment; with END in it */
^IMAGE = ("x.img", 12 <BYTES>)   # until the line ends, END
OBJECT = IMAGE
  SAMPLE_TYPE = MSB_INTEGER
  NOTE = "End
          END_OBJECT = IMAGE "
  GROUP = Field
    Name = first
    Name = again
  END_GROUP = Field
  Group = FIELD  NAME = second  End_Group
END_OBJECT = image;
Incidence = 62.6 <deg>;
END
\x00\x01\xff END_OBJECT = IMAGE"""


def test_a_value_is_found_by_its_path_whatever_its_case():
    label = Label(LABEL)
    assert label.value("IMAGE.SAMPLE_TYPE") == label.value("Image.sample_type") == ("MSB_INTEGER", None)
    assert label.value("IMAGE.NOTE").value == "End END_OBJECT = IMAGE"
    assert label.value("incidence") == Value(62.6, "deg")
    assert label.value("^IMAGE") == Value(["x.img", 12], [None, "BYTES"])


def test_of_several_of_one_name_the_first_is_meant_or_the_numbered():
    label = Label(LABEL)
    assert label.value("IMAGE.Field.Name").value == label.value("IMAGE.Field[1].Name[1]").value == "first"
    assert label.value("IMAGE.Field.Name[2]").value == "again"
    assert label.value("IMAGE.Field[2].Name").value == "second"
    assert label.paths()[-2:] == ["IMAGE.FIELD[2].NAME", "Incidence"]


def test_a_label_ends_at_its_end_and_the_image_behind_it_is_not_looked_at():
    assert LABEL[: Label(LABEL).end].endswith(b"<deg>;\nEND")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5),
        ("+5", 5),
        ("-05", -5),
        ("1.", 1.0),
        (".5e-3", 0.0005),
        ("16#FF#", 255),
        ("2#-101#", -5),
        ("-8#17#", -15),
        ("NULL", None),
        ("True", True),
        ("FALSE", False),
        ("640nm", "640nm"),
        ("1.0.0", "1.0.0"),
        ("$base/kernels/a.tls", "$base/kernels/a.tls"),
        ("N/A", "N/A"),
        ("'it is'", "it is"),
        ('"5"', "5"),
        ('""', ""),
        ('"a  b\n\t c"', "a b c"),
        ('"half-\n   way"', "halfway"),
        ("half-\n   way", "halfway"),
        ("2009-06-07T14:43:22.8769495", "2009-06-07T14:43:22.8769495"),
        ("2009-158T10:00:00Z", "2009-06-07T10:00:00Z"),
        ("2009-158", "2009-06-07"),
        ("2009-400", "2009-400"),
        ("(1, 2.5, (a, 'b'))", [1, 2.5, ["a", "b"]]),
        ("{1, /* two */ 2}", [1, 2]),
        ("()", []),
    ],
)
def test_a_value_is_what_it_says(text, expected):
    found = value(text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(1 <m>, 2 <m>)", ([1, 2], "m")),
        ("(1, 2) < m >", ([1, 2], "m")),
        ("(1 <m>, 2 <s>)", ([1, 2], ["m", "s"])),
        ("(1 <m>, (2, 3) <s>)", ([1, [2, 3]], ["m", "s"])),
        ("(1, (2, 3 <s>))", ([1, [2, 3]], [None, [None, "s"]])),
        ('"a" <m>', ("a", "m")),
    ],
)
def test_units_stay_with_their_values(text, expected):
    assert said(f"A = {text}") == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(1 2)", "something else than , stands between its members"),
        ("(1,,2)", "something is missing between its members"),
        ("(1 <m>) <s>", "it has a unit, and so have its members"),
        ("(" * 17 + ")" * 17, "it is too deep"),
        ("nan", "it cannot be told whether nan is a number"),
        ("-Infinity", "cannot be told whether -Infinity is"),
        ("1_000", "cannot be told whether 1_000 is"),
        ("1e400", "1e400 is no finite number"),
        ("9" * 5000, "is no finite number"),
        ("2#12#", "2#12# is no number"),
        ("-\n;", "cannot be told where it ends"),
        ("", "A has no value"),
        (";", "A has no value"),
        ("\nB = 3", "A has no value"),
        ("End_Grou-\n p = x", "A has no value"),
    ],
)
def test_what_cannot_be_told_is_said_and_costs_no_other_value(text, problem):
    label = Label(f"Z = 1 A = {text}\nEnd".encode(), "x.pvl") if "Grou" not in text else None
    label = label or Label(b"Group = g Z = 1 A = End_Grou-\n p = g End", "x.pvl")
    path = "g." if "Grou" in text else ""
    with pytest.raises(LabelError) as raised:
        label.value(f"{path}A")
    assert raised.value.message.startswith(f"x.pvl: {path}A")
    assert problem in raised.value.message
    assert label.value(f"{path}Z").value == 1


def test_a_text_in_another_encoding_is_no_guess():
    label = Label(b'A = "\xb0"\nB = 1\nEND')
    with pytest.raises(LabelError, match="A: it is no text in UTF-8"):
        label.value("A")
    assert label.value("B").value == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<html>", "line 2: the name of a value is expected"),
        ("A = 1\n 'x'", "line 3: the name of a value is expected"),
        ("A 5", "line 2: = is expected behind A"),
        ("A = B C = D\n ) ", "line 3: the name"),
        ("A = >", "line 2: a value is expected"),
        ('A = "x', "line 2: a value is expected"),
        ("A = (1 = 2)", "line 2: a value is expected"),
        ("A = (1; 2)", "line 2: a value is expected"),
        ("A = (1 > 2)", "line 2: a value is expected"),
        ("Group = 'x'", "line 2: a name is expected behind Group ="),
        ("Group = x\nA = 1", "x is not ended"),
        ("Group = x\nEnd_Object", "line 3: End_Object ends nothing"),
        ("End_Group", "line 2: End_Group ends nothing"),
        ("Group = x\nEnd_Group = y", "line 3: the end of x is expected"),
    ],
)
def test_what_is_no_label_is_said_with_its_line(text, problem):
    with pytest.raises(LabelError, match=r"^x\.pvl: is no label") as raised:
        Label(f"\n{text}\nEND".encode(), "x.pvl")
    assert problem in raised.value.message


@pytest.mark.parametrize("text", ["", "A = 1", "A = 'x' ", "A = (1, ", "Group = x ", "A = 1 /* END"])
def test_a_label_without_its_end_was_cut(text):
    with pytest.raises(LabelError) as raised:
        Label(text.encode())
    assert isinstance(raised.value, LabelCut) is ("/*" not in text)


def test_no_cut_of_a_label_is_taken_for_a_whole_one():
    whole = Label(LABEL).end
    for count in range(whole):
        try:
            cut = Label(LABEL[:count])
        except LabelError:
            continue
        assert LABEL[count - 3 : count] == b"END", cut.paths()


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("Image.SampleType", "did you mean 'IMAGE.SAMPLE_TYPE'?"),
        ("SAMPLE_TYPE", "did you mean 'IMAGE.SAMPLE_TYPE'?"),
        ("zzz", "it has 8 values"),
    ],
)
def test_what_is_missing_is_named_with_the_nearest(path, hint):
    with pytest.raises(LabelError) as raised:
        Label(LABEL, "x.lbl").value(path)
    assert str(raised.value) == f"x.lbl: has no {path} ({hint})"


@given(st.binary(max_size=60) | st.text("A=(){}<>'\"/*# \n-EGropND_;,1.", max_size=60).map(str.encode))
def test_whatever_comes_is_a_label_or_a_labelerror(content):
    try:
        label = Label(content)
    except LabelError:
        return
    for path in label.paths():
        try:
            found = label.value(path)
        except LabelError:
            continue
        assert not isinstance(found.value, float) or math.isfinite(found.value)


@pytest.mark.parametrize("filler", [b" \n", b"/* x */", b"# x\n", b"A=(", b"<", b"'", b"/*", b"-\n"])
def test_a_megabyte_of_nonsense_is_read_once(filler):  # quadratic it would take hours
    content = filler * (1_000_000 // len(filler))
    with pytest.raises(LabelError):
        Label(content)
