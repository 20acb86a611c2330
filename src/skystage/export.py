"""A plan as a list for other download tools, for those who move bytes with them.

What they bring is not verified: let skystage check and take over the files afterwards. None of the
lists holds a credential.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping

from skystage.model import Asset
from skystage.s3 import https_url
from skystage.staged import inside


def urls(assets: Iterable[Asset]) -> Iterator[str]:
    """One address a line: each asset's first source."""
    for asset in assets:
        if asset.sources:
            yield https_url(asset.sources[0].href)


def curl(assets: Iterable[Asset]) -> Iterator[str]:
    """A shell script: resumes, makes directories, follows log-ins with the user's netrc."""
    yield "#!/bin/sh"
    yield "set -e"
    for asset in assets:
        if asset.sources:
            address, path = shlex.quote(https_url(asset.sources[0].href)), shlex.quote(inside(asset.path))
            yield (
                "curl --fail --location --netrc-optional --cookie '' --continue-at - --retry 5 --create-dirs "
                f"--output {path} {address}"
            )


def aria2(assets: Iterable[Asset]) -> Iterator[str]:
    """An input file for ``aria2c --input-file``: mirrors on one line, the checksum it can check."""
    for asset in assets:
        if asset.sources:
            yield "\t".join(https_url(source.href) for source in asset.sources)
            yield f"  out={inside(asset.path)}"
            for ours, theirs in (("sha256", "sha-256"), ("md5", "md5")):
                if ours in asset.checksums:
                    yield f"  checksum={theirs}={asset.checksums[ours]}"
                    break


def rclone(assets: Iterable[Asset]) -> Iterator[str]:
    """A CSV for ``rclone copyurl --urls``: address and file name."""
    for asset in assets:
        if asset.sources:
            row = io.StringIO()
            csv.writer(row, lineterminator="").writerow(
                [https_url(asset.sources[0].href), inside(asset.path)]
            )
            yield row.getvalue()


FORMATS: Mapping[str, Callable[[Iterable[Asset]], Iterator[str]]] = {
    "aria2": aria2,
    "curl": curl,
    "rclone": rclone,
    "urls": urls,
}
