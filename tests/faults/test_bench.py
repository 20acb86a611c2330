"""Every fault, at every phase, on every way, with whatever is known: no wrong file, no leak, no hang."""

from __future__ import annotations

import pytest

WAYS = ("earthdata", "ranges", "member", "https", "s3", "s3-signed")
PHASES = ("before", "middle", "last", "resume", "refresh", "mirror", "directory")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("way", WAYS)
def test_no_fault_ends_in_a_wrong_file_a_leak_or_a_hang(bench, table, way, phase):
    problems = [problem for case in table.cases(way, phase) for problem in bench.run(case)]
    assert not problems, "\n" + "\n".join(problems)


def test_the_table_is_whole(table):
    assert (table.WAYS, table.PHASES) == (WAYS, PHASES)
    rows = [case for way in WAYS for phase in PHASES for case in table.cases(way, phase)]
    assert len({case.name for case in rows}) == len(rows)
    assert len(rows) > 4000
