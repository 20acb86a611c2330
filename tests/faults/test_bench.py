"""Every fault, at every phase, on every way, with whatever is known: no wrong file, no leak, no hang."""

from __future__ import annotations

import pytest

WAYS = ("earthdata", "ranges", "member", "https", "s3", "s3-signed", "nodes", "eodata", "zip-band")
PHASES = ("before", "middle", "last", "resume", "refresh", "mirror", "directory")
CASES = 3910


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("way", WAYS)
def test_no_fault_ends_in_a_wrong_file_a_leak_or_a_hang(bench, table, way, phase):
    problems = [problem for case in table.cases(way, phase) for problem in bench.run(case)]
    assert not problems, "\n" + "\n".join(problems)


def test_the_table_is_whole(table, record_testsuite_property):
    assert (table.WAYS, table.PHASES) == (WAYS, PHASES)
    rows = [case for way in WAYS for phase in PHASES for case in table.cases(way, phase)]
    assert len({case.name for case in rows}) == len(rows) == CASES
    record_testsuite_property("fault cases", len(rows))


def test_pieces_are_shared_on_the_way_of_ranges(bench, table):
    case = next(case for case in table.cases("ranges", "before") if case.fault.name == "latency")
    assert bench.run(case) == []
    ranges = [request["range"] for request in bench.requests if request["host"] == table.CDN]
    assert len([one for one in ranges if one]) > 1
