from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skystage import plan as plans
from skystage.errors import PlanError
from skystage.model import Asset, Companion, Dropped, Granule, Query, Source, Unresolved, from_iso
from skystage.plan import Plan

SHARED = Asset(
    key="orbit", path="orbits/AUX_POEORB/x/x.EOF", size=1000, sources=(Source(href="https://o/x"),)
)


def granule(name: str, *, md5: str = "aa", **fields) -> Granule:
    data = Asset(key="data", path=f"asf/C/{name}/{name}.zip", size=10, checksums={"md5": md5})
    return Granule(archive="asf", collection="C", id=name, native_id=name, assets=(data, SHARED), **fields)


def write(path, granules, **fields) -> Plan:
    return plans.write(
        path,
        query=Query(archive="asf"),
        granules=sorted(granules, key=lambda one: one.id),
        **{"hits": 9, "received": 9, **fields},
    )


def body(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_lines_are_granules_then_companions_then_dropped(tmp_path):
    path = tmp_path / "plan.ndjson"
    write(
        path,
        [granule("a"), granule("b")],
        companions=[Companion(id="dem"), Companion(id="aux")],
        dropped=[Dropped(id="c", reason="area"), Dropped(id="z", reason="months")],
    )
    assert [line["id"] for line in body(path)] == ["a", "b", "aux", "dem", "c", "z"]


@pytest.mark.parametrize(
    "fields",
    [
        {"granules": [granule("b"), granule("a")]},
        {"granules": [], "dropped": [Dropped(id="b", reason="area"), Dropped(id="a", reason="area")]},
        {"granules": [], "dropped": [Dropped(id="a", reason="b"), Dropped(id="a", reason="a")]},
    ],
)
def test_a_plan_in_another_order_is_not_written(tmp_path, fields):
    with pytest.raises(ValueError, match="comes behind"):
        plans.write(tmp_path / "p", query=Query(archive="asf"), hits=2, received=2, **fields)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_reads_what_was_written(tmp_path):
    lacking = replace(granule("b"), unresolved=(Unresolved(key="orbit", reason="none"),))
    made = write(tmp_path / "p", [granule("a"), lacking], dropped=[Dropped(id="z", reason="area")])
    assert list(made.granules()) == [granule("a"), lacking]
    assert list(made.dropped()) == [Dropped(id="z", reason="area")]
    assert list(made.unresolved()) == [("b", Unresolved(key="orbit", reason="none"))]


def test_a_batch_has_its_part_of_the_granules_and_companions(tmp_path):
    granules = [granule(name) for name in "abcde"]
    companions = [Companion(id="dem", assets=(SHARED,)), Companion(id="tiles")]
    made = write(tmp_path / "p", granules, companions=companions)
    assert list(made.granules()) == granules
    assert list(made.companions()) == companions
    parts = [(list(made.granules((i, 3))), list(made.companions((i, 3)))) for i in (1, 2, 3)]
    assert [one for part, _ in parts for one in part] == granules
    assert [one for _, part in parts for one in part] == companions


def test_a_comparison_sees_what_belongs_to_an_area(tmp_path):
    other = replace(SHARED, path="dem/another.tif")
    old = write(
        tmp_path / "a", [granule("a")], companions=[Companion(id="s", assets=(SHARED,)), Companion(id="t")]
    )
    new = write(
        tmp_path / "b", [granule("a")], companions=[Companion(id="s", assets=(other,)), Companion(id="u")]
    )
    change = plans.diff(old, new)
    assert (change.new, change.gone, change.reprocessed) == ([], [], [])
    assert change.companions == ["s", "t", "u"]
    assert change
    assert not plans.diff(old, old)


def test_a_granule_is_a_part_of_a_plan_too(tmp_path):
    granules = [granule(name) for name in "abcde"]
    made = write(tmp_path / "p", granules, companions=[Companion(id="c", assets=(SHARED,))])
    for one in granules:
        assert list(made.granules(one.id)) == [one]
        assert made.chosen(one.id) == list(one.assets)
        assert list(made.companions(one.id)) == []
    with pytest.raises(PlanError, match="--granule f: is not in the plan"):
        made.chosen("f")
    twice = [replace(granules[0], collection=name) for name in "XY"]
    with pytest.raises(PlanError, match="several collections"):
        write(tmp_path / "q", twice).chosen("a")


def test_totals_count_shared_assets_once(tmp_path):
    unsized = replace(granule("c"), assets=(Asset(key="data", path="asf/C/c/c.zip"),))
    totals = write(tmp_path / "p", [granule("a"), granule("b"), unsized]).header.totals
    assert (totals.granules, totals.assets, totals.bytes, totals.unsized) == (3, 4, 1020, 1)


def test_totals_count_the_dropped_by_reason(tmp_path):
    dropped = [
        Dropped(id="x", reason="months"),
        Dropped(id="y", reason="months"),
        Dropped(id="z", reason="area"),
    ]
    assert write(tmp_path / "p", [], dropped=dropped).header.totals.dropped == {"area": 1, "months": 2}


def test_a_plan_that_was_changed_by_hand_is_found_out(tmp_path):
    path = tmp_path / "p"
    write(path, [granule("a")]).check()
    path.write_text(path.read_text().replace('"size":10', '"size":11'))
    with pytest.raises(PlanError, match="was changed"):
        Plan(path).check()


@given(
    count=st.integers(0, 40),
    batches=st.integers(1, 50),
    lengths=st.lists(st.integers(1, 300), min_size=40, max_size=40),
)
def test_batches_are_contiguous_disjoint_and_together_the_whole(tmp_path_factory, count, batches, lengths):
    path = tmp_path_factory.mktemp("plans") / "p"
    granules = [
        replace(
            granule(f"g{n:03}"), stack="x" * lengths[n], assets=(Asset(key="data", path=f"a/c/g{n:03}/f"),)
        )
        for n in range(count)
    ]
    made = write(path, granules, dropped=[Dropped(id=f"d{n:02}", reason="area") for n in range(60)])
    parts = [[asset.path for asset in made.assets((number, batches))] for number in range(1, batches + 1)]
    assert [name for part in parts for name in part] == [one.assets[0].path for one in granules]


def test_an_asset_that_granules_share_is_once_in_a_batch(tmp_path):
    made = write(tmp_path / "p", [granule("a"), granule("b")])
    assert [asset.path for asset in made.assets()].count(SHARED.path) == 1


@pytest.mark.parametrize("batch", [(0, 3), (4, 3)])
def test_a_batch_that_does_not_exist_is_refused(tmp_path, batch):
    made = write(tmp_path / "p", [granule("a")])
    with pytest.raises(PlanError, match="no such batch"):
        list(made.assets(batch))


@pytest.mark.parametrize("content", ["", "no json", "{}", '{"kind":"plan","format":99}', "[]", '"text"'])
def test_a_file_that_is_no_plan_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "p"
    path.write_text(content)
    with pytest.raises(PlanError, match="not a plan of format 1"):
        Plan(path)


def test_a_plan_that_is_not_there_is_refused_with_the_way_to_make_it(tmp_path):
    with pytest.raises(PlanError, match="skystage plan"):
        Plan(tmp_path / "none")


def test_a_plan_that_was_cut_or_lost_a_line_is_refused_when_it_is_opened(tmp_path):
    path = tmp_path / "p"
    write(path, [granule("a"), granule("b")])
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    for text in (whole[:-20], "".join(lines[:2]), whole + lines[-1]):
        path.write_text(text)
        with pytest.raises(PlanError, match="was cut or changed"):
            Plan(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"archive"', '["archive"'),
        ('"assets":[{', '"assetz":[{'),
        ('"href"', '"hrfe"'),
        ('"size":10', '"size":{}'),
        ('"unresolved":[{"key"', '"unresolved":[{"kez"'),
        ('{"dropped"', '{"drooped"'),
        ('{"archive":"asf"', '[{"archive":"a"'),
        ('"asf/C/', '"../C/'),
    ],
)
def test_a_line_that_was_changed_by_hand_is_one_line_of_error_not_a_traceback(tmp_path, old, new):
    path = tmp_path / "p"
    lacking = replace(granule("a"), unresolved=(Unresolved(key="x", reason="y"),))
    write(path, [lacking], dropped=[Dropped(id="z", reason="area")])
    head, *lines = path.read_text().splitlines(keepends=True)
    changed = "".join(lines).replace(old, new, 1)
    assert changed != "".join(lines)
    path.write_text(head + changed)
    if len(changed) != len("".join(lines)):
        return  # found out by its length already

    def read_all() -> None:
        made = Plan(path)
        list(made.granules())
        list(made.unresolved())
        list(made.dropped())
        made.chosen()

    with pytest.raises(PlanError):
        read_all()


def test_a_line_that_is_json_but_no_object_is_refused(tmp_path):
    path = tmp_path / "p"
    write(path, [granule("a")])
    head, line = path.read_text().splitlines(keepends=True)
    for text in ("[1]".ljust(len(line) - 1) + "\n", "{".ljust(len(line) - 1) + "\n"):
        path.write_text(head + text)
        with pytest.raises(PlanError, match="no object|not JSON"):
            list(Plan(path).granules())


def test_assets_are_chosen_by_key_and_a_key_that_the_plan_lacks_is_named(tmp_path):
    lacking = replace(granule("a"), unresolved=(Unresolved(key="label", reason="none"),))
    made = write(tmp_path / "p", [lacking, granule("b")])
    assert [asset.key for asset in made.chosen(keys=["orbit"])] == ["orbit"]
    assert made.chosen((2, 50), ["orbit"]) == []
    assert made.chosen(keys=["label"]) == []
    assert list(made.lacking()) == ["a: label"]
    assert made.lacking(keys=["data"]) == {}
    with pytest.raises(PlanError, match="'orbits': not in the plan.*data, label, orbit"):
        made.chosen(keys=["orbits"])


def test_an_empty_plan_is_a_result(tmp_path):
    made = write(tmp_path / "p", [])
    assert list(made.granules()) == []
    assert list(made.assets((1, 3))) == []


def test_nothing_is_left_beside_a_plan(tmp_path):
    write(tmp_path / "p", [granule("a")])
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_difference_names_new_gone_and_reprocessed(tmp_path):
    when = from_iso("2020-01-01T00:00:00")
    old = write(
        tmp_path / "old",
        [granule("same"), granule("changed"), granule("left"), granule("S_1111", stack="s", start=when)],
    )
    new = write(
        tmp_path / "new",
        [
            granule("same"),
            granule("changed", md5="bb"),
            granule("come"),
            granule("S_2222", stack="s", start=when),
        ],
    )
    found = plans.diff(old, new)
    assert (found.new, found.gone, found.reprocessed) == (["come"], ["left"], ["S_2222", "changed"])
    assert found
    assert not plans.diff(old, old)


def test_what_only_one_plan_was_asked_for_is_no_difference(tmp_path):
    one = granule("a")
    more = replace(one, assets=(*one.assets, replace(one.assets[0], key="browse", path="asf/C/a/a.png")))
    old, new = write(tmp_path / "old", [one]), write(tmp_path / "new", [more])
    assert plans.diff(old, new).reprocessed == plans.diff(new, old).reprocessed == []


def test_a_difference_knows_collections_apart(tmp_path):
    both = [granule("a"), replace(granule("a"), collection="D")]
    old, new = write(tmp_path / "old", both), write(tmp_path / "new", both[:1])
    assert plans.diff(old, new).gone == ["a"]
    assert plans.diff(new, old).new == ["a"]


@pytest.mark.parametrize(
    ("said", "changed"), [('"size":10', '"size":[]'), ('"asf/C/a/a.zip"', '["sf/C/a/a.zi"]')]
)
def test_a_line_that_was_changed_to_something_else_is_one_line_also_in_a_batch(tmp_path, said, changed):
    plan = write(tmp_path / "plan.ndjson", [granule("a")])
    text = plan.path.read_text()
    assert said in text
    plan.path.write_text(text.replace(said, changed))
    with pytest.raises(PlanError, match="not as a plan has it"):
        Plan(plan.path).chosen((1, 1))
