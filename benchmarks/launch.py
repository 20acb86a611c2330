"""Run one command and write what the operating system says it cost.

Linux gives a new process the peak memory of the one that started it, so contestants are started from
this small one, and not from the benchmark. What it starts is waited for with ``wait4``, which counts all
descendants that were waited for in their turn: CPU as their sum, peak memory as that of the largest.
"""

import os
import sys
import time


def main() -> None:
    """``launch.py REPORT COMMAND...``: one line of figures in the file REPORT."""
    report, *command = sys.argv[1:]
    begun = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - begun
    figures = (wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, os.waitstatus_to_exitcode(status))
    with open(report, "w") as file:  # noqa: PTH123 - pathlib would make this process larger
        file.write(" ".join(str(figure) for figure in figures))


main()
