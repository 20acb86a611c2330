"""The command line as on another machine that shares the store: ``node.py NAME ARGUMENTS``."""

from __future__ import annotations

import socket
import sys

from skystage import parts
from skystage.cli import main

if __name__ == "__main__":
    name = sys.argv[1]
    socket.gethostname = lambda: name
    parts.BOOT = name
    main(sys.argv[2:])
