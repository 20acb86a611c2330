"""The archives in a box: one loopback process that answers by host name as the real services do.

Only environment variables lead a client there, so every program and library runs unmodified,
and nothing in skystage itself knows that the box exists. See ``docs/sandbox.md``.
"""

from skystage.sandbox.box import Sandbox
from skystage.sandbox.command import run, serve

__all__ = ["Sandbox", "run", "serve"]
