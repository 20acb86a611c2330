"""``python -m skystage.cli``."""

from skystage.cli import main

main()
