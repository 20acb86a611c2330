"""A plan as a list for other download tools, for those who move bytes with them.

What they bring is not verified, but for the script's: let skystage check and take over the files afterwards.
None of the lists holds a credential.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping

from skystage import s3href
from skystage.direct import DIRECT
from skystage.model import Asset, Source
from skystage.s3 import EODATA, SCHEME, https_url
from skystage.s3href import S3Object
from skystage.staged import inside

REMOTE = "s3_noauth"
"""What rclone's configuration calls S3 without a log-in."""
_MAST = ("mast", "mast-exclusive")


def urls(assets: Iterable[Asset]) -> Iterator[str]:
    """One address a line: each asset's first source."""
    for _, addresses in _addressed(assets):
        yield addresses[0]


def s3(assets: Iterable[Asset]) -> Iterator[str]:
    """One ``s3://bucket/key`` a line, of what lies in S3 for everybody: astroquery's ``get_cloud_uris``."""
    for found in map(s3_object, assets):
        if found is not None:
            yield found.uri


def curl(assets: Iterable[Asset]) -> Iterator[str]:
    """A shell script that continues what was cut and checks what came; it fails if a file is not right.

    Log-ins are the user's netrc, and for MAST the token in ``MAST_API_TOKEN`` when it runs.
    """
    yield from _SCRIPT.splitlines()
    for asset in assets:
        ways = [
            ("mast" if source.auth in _MAST else "-", https_url(source.href))
            for source in asset.sources
            if _plain(source)
        ]
        if ways:
            algorithm = next((name for name in ("sha256", "md5") if name in asset.checksums), None)
            known = [
                "-" if asset.size is None else str(asset.size),
                algorithm or "-",
                "-" if algorithm is None else asset.checksums[algorithm].lower(),
            ]
            words = [inside(asset.path), *known, *(word for way in ways for word in way)]
            yield f"get {' '.join(map(shlex.quote, words))}"
    yield "finish"


def aria2(assets: Iterable[Asset]) -> Iterator[str]:
    """An input file for ``aria2c --input-file``: mirrors on one line, the checksum it can check."""
    for asset, addresses in _addressed(assets):
        yield "\t".join(addresses)
        yield f"  out={inside(asset.path)}"
        for ours, theirs in (("sha256", "sha-256"), ("md5", "md5")):
            if ours in asset.checksums:
                yield f"  checksum={theirs}={asset.checksums[ours]}"
                break


def rclone(assets: Iterable[Asset]) -> Iterator[str]:
    """One ``s3_noauth:bucket/key`` a line, for ``rclone copy`` with the remote of `rclone_remote`."""
    home = None
    for found in map(s3_object, assets):
        if found is not None:
            home = home or found.region
            elsewhere = f",region={found.region}" if found.region != home and found.region else ""
            yield f"{REMOTE}{elsewhere}:{found.bucket}/{found.key}"


def rclone_remote(assets: Iterable[Asset]) -> str:
    """The section of rclone's configuration that the list of `rclone` wants.

    Its region is the first that an address of the list names; the lines of others say theirs.
    """
    regions = (found.region for found in map(s3_object, assets) if found is not None)
    region = next((region for region in regions if region), "us-east-1")
    return f"[{REMOTE}]\ntype = s3\nprovider = AWS\nenv_auth = false\nregion = {region}\n"


def rclone_urls(assets: Iterable[Asset]) -> Iterator[str]:
    """A CSV for ``rclone copyurl --urls``: address and file name."""
    for asset, addresses in _addressed(assets):
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow([addresses[0], inside(asset.path)])
        yield row.getvalue()


def s3_object(asset: Asset) -> S3Object | None:
    """Where an asset lies in S3 for everybody; None if it does not, or only as one of several versions.

    A key with a line break or the like is none either: in a list of lines it would be two.
    """
    found = (s3href.parse(source.href) for source in asset.sources if _plain(source) and source.auth is None)
    listed = (one for one in found if one is not None and one.version is None and one.uri.isprintable())
    return next(listed, None)


def can_list(name: str, asset: Asset) -> bool:
    """Whether an asset has an address for the list of that name."""
    if name in ("rclone", "s3"):
        return s3_object(asset) is not None
    return any(map(_plain, asset.sources))


def _addressed(assets: Iterable[Asset]) -> Iterator[tuple[Asset, list[str]]]:
    """Each asset with its addresses, if it has any: only of its own bytes, which tools may join."""
    for asset in assets:
        plain = [https_url(one.href) for one in asset.sources if _plain(one)]
        if plain:
            yield asset, plain


def _plain(source: Source) -> bool:
    """Whether the file at a source is the asset, for whoever has no more than a log-in."""
    return (
        source.repacked is None
        and source.member is None
        and not source.requester_pays
        and source.auth not in (EODATA, SCHEME, *DIRECT)
    )


FORMATS: Mapping[str, Callable[[Iterable[Asset]], Iterator[str]]] = {
    "aria2": aria2,
    "curl": curl,
    "rclone": rclone,
    "rclone-urls": rclone_urls,
    "s3": s3,
    "urls": urls,
}

_SCRIPT = r"""#!/bin/sh
# Fetches the files of a plan into the folder that it is run in. Run again, it goes on where it was.
# A file has its name when it is what was planned; until then it is NAME.part1, from its first source.
# The exit code is 4 if a file failed. Wants curl 7.68, and md5sum or sha256sum (or md5, shasum).
set -u
fetched=0 there=0 failed=0 by_size=0 by_nothing=0

digest() {
  case $1 in
    md5) if command -v md5sum >/dev/null; then md5sum <"$2"; else md5 -q <"$2"; fi ;;
    *) if command -v sha256sum >/dev/null; then sha256sum <"$2"; else shasum -a 256 <"$2"; fi ;;
  esac | cut -d ' ' -f 1
}

# Whether a file is what was planned; a dash is what the archive does not say.
proved() {
  came=$(wc -c <"$1" | tr -d ' ')
  if [ "$size" != - ] && [ "$came" != "$size" ]; then
    why="$came bytes, not $size"
    return 1
  fi
  if [ "$algorithm" != - ]; then
    came=$(digest "$algorithm" "$1")
    if [ "$came" != "$expected" ]; then
      why="$algorithm is $came, not $expected"
      return 1
    fi
  fi
}

# The token goes by a pipe: arguments can be read by everybody on the machine.
token() {
  if [ "$login" = mast ] && [ -n "${MAST_API_TOKEN:-}" ]; then
    printf 'header = "Authorization: token %s"\n' "$(printf %s "$MAST_API_TOKEN" | tr -d '[:space:]"\\')"
  fi
}

# Bring a part to its end. 0: it is what was planned; 1: ask again; 2: this source has nothing else.
bring() {
  etag=$(tail -n 1 "$part.etag" 2>/dev/null | tr -d '\r\n')
  # What comes is joined to what came if it is of the same version, or if a checksum will tell.
  if [ "$algorithm" = - ] && [ -z "$etag" ]; then rm -f "$part"; fi
  resumed=no
  if [ -s "$part" ]; then
    if [ "$size$algorithm" != -- ] && proved "$part"; then return 0; fi
    resumed=yes
    set -- --continue-at -
    if [ -n "$etag" ]; then set -- "$@" --header "If-Range: $etag"; fi
  else
    set -- --etag-save "$part.etag"
  fi
  status=$(token | curl --config - --silent --show-error --fail --location --netrc-optional --cookie '' \
    --retry 5 --connect-timeout 20 --speed-limit 2000 --speed-time 120 --write-out '%{http_code}' "$@" \
    --output "$part" "$url")
  ended=$?
  if [ $ended = 0 ] && proved "$part"; then return 0; fi
  if [ $ended != 0 ]; then why="curl ended with $ended, the status is $status"; fi
  case $ended-$status in
    0-* | 33-* | *-416)
      # Other bytes, or another version of the file: what came before is of no use.
      rm -f "$part" "$part.etag"
      if [ $resumed = yes ]; then return 1; fi
      return 2
      ;;
    3-* | 22-* | 23-* | 60-* | 77-*) return 2 ;;
    *) return 1 ;;
  esac
}

fetch() {
  mkdir -p "$(dirname "$path")"
  number=0
  while [ $# -gt 1 ]; do
    login=$1 url=$2 number=$((number + 1))
    part=$path.part$number
    shift 2
    for try in 1 2 3 4 5; do
      bring
      case $? in
        0)
          mv "$part" "$path" && rm -f "$path".part[0-9]*
          return
          ;;
        1) if [ $try != 5 ]; then sleep $try; fi ;;
        *) break ;;
      esac
    done
  done
  return 1
}

# PATH SIZE ALGORITHM DIGEST, then a log-in and an address for each source.
get() {
  path=$1 size=$2 algorithm=$3 expected=$4 why='cannot be written'
  shift 4
  if [ -e "$path" ]; then
    if proved "$path"; then
      there=$((there + 1))
    else
      failed=$((failed + 1))
      printf 'failed   %s: is there, and is not what was planned: %s (move it away)\n' "$path" "$why" >&2
    fi
  elif fetch "$@"; then
    fetched=$((fetched + 1))
    if [ "$algorithm$size" = -- ]; then by_nothing=$((by_nothing + 1)); fi
    if [ "$algorithm" = - ] && [ "$size" != - ]; then by_size=$((by_size + 1)); fi
  else
    failed=$((failed + 1))
    printf 'failed   %s: %s\n' "$path" "$why" >&2
  fi
}

finish() {
  printf 'fetched  %s files, %s were there, %s failed\n' "$fetched" "$there" "$failed" >&2
  if [ $by_size != 0 ]; then printf 'size     is the only proof of %s of them\n' "$by_size" >&2; fi
  if [ $by_nothing != 0 ]; then printf 'nothing  proves %s of them\n' "$by_nothing" >&2; fi
  if [ $failed != 0 ]; then exit 4; fi
  exit 0
}
"""
