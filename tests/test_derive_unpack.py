"""Archives: what is in them comes out, and nothing else happens."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from skystage import cli, plan
from skystage.derive import unpack as unpacking
from skystage.derive.unpack import Limits, unpack
from skystage.errors import FetchFailed, PlanError, StructureError
from skystage.model import Asset, Granule, Query, Unresolved

FILES = {"readme.txt": b"hello", "k2/c3/ktwo1_llc.fits": b"S" * 5000, "k2/empty": b""}


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type = kind
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, content in members:
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content.ljust(info.size, b"\0")))
    return out.getvalue()


def whole_tar() -> bytes:
    folder = member("k2", tarfile.DIRTYPE)
    return tar(
        (member("./", tarfile.DIRTYPE), b""), (folder, b""), *((member(n), c) for n, c in FILES.items())
    )


def zipped(files: dict[str, bytes] = FILES, *, mode: int = 0) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("k2/", b"")
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return out.getvalue()


@pytest.fixture
def stage(store, staged, tmp_path) -> Callable[..., plan.Plan]:
    """A plan of staged files: ``stage(name=bytes)``."""

    def make(files: dict[str, bytes], **fields: object) -> plan.Plan:
        assets = tuple(
            Asset(key=name.partition(".")[0], path=f"stac/c/i/{name}", size=len(content))
            for name, content in files.items()
        )
        for asset, content in zip(assets, files.values(), strict=True):
            staged(store, asset, content)
        one = Granule(archive="stac", collection="c", id="i", native_id="i", assets=assets, **fields)
        return plan.write(tmp_path / "plan", query=Query(archive="stac"), granules=[one], hits=1, received=1)

    return make


def there(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out / "stac/c/i").as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and ".skystage" not in path.parts and path.suffix != ".json"
    }


ARCHIVES = {
    "a.tar": whole_tar,
    "a.tar.gz": lambda: gzip.compress(whole_tar(), mtime=0),
    "a.TGZ": lambda: gzip.compress(whole_tar(), mtime=0),
    "a.tar.bz2": lambda: bz2.compress(whole_tar()),
    "a.tar.xz": lambda: lzma.compress(whole_tar()),
    "a.zip": zipped,
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_what_is_in_an_archive_comes_out_and_once(stage, store, tmp_path, name, capsys):
    made, out = stage({name: ARCHIVES[name](), "image.fits": b"S"}), tmp_path / "out"
    command = ["derive", "unpack", str(made.path), "--store", str(store.root), "-o", str(out), "--json"]
    assert cli.run(command) == 0
    (one,) = json.loads(capsys.readouterr().out)["made"]
    assert one == {
        "asset": f"stac/c/i/{name}",
        "path": str(out / "stac/c/i/a"),
        "files": 3,
        "bytes": 5005,
        "already": False,
    }
    assert there(out) == {f"a/{path}": content for path, content in FILES.items()}
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.fits")}
    receipt = (out / "stac/c/i/a.json").read_bytes()
    assert cli.run(command) == 0
    (one,) = json.loads(capsys.readouterr().out)["made"]
    assert (one["already"], one["files"], one["bytes"]) == (True, 3, 5005)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.fits")} == before
    other = unpack(made, store, tmp_path / "other")
    other.raise_for_failures()
    assert (tmp_path / "other/stac/c/i/a.json").read_bytes() == receipt


@pytest.mark.parametrize("spoil", ["change", "delete", "add", "receipt", "no receipt"])
def test_what_was_touched_is_made_again(stage, store, tmp_path, spoil):
    made, out = stage({"a.zip": zipped()}), tmp_path / "out"
    unpack(made, store, out).raise_for_failures()
    folder, receipt = out / "stac/c/i/a", out / "stac/c/i/a.json"
    match spoil:
        case "change":
            (folder / "readme.txt").write_bytes(b"jello")
        case "delete":
            (folder / "readme.txt").unlink()
        case "add":
            (folder / "more.txt").write_bytes(b"")
        case "receipt":
            receipt.write_text(receipt.read_text().replace('"sha256":"s"', '"sha256":"t"'))
        case _:
            receipt.unlink()
    (one,) = unpack(made, store, out).made
    assert not one.already
    assert there(out) == {f"a/{path}": content for path, content in FILES.items()}
    assert unpack(made, store, out).made[0].already


def test_links_are_the_files_that_they_lead_to(stage, store, tmp_path):
    files = tar(
        (member("d/a"), b"data"),
        (member("d/soft", tarfile.SYMTYPE, linkname="a"), b""),
        (member("e/soft", tarfile.SYMTYPE, linkname="../d/a"), b""),
        (member("hard", tarfile.LNKTYPE, linkname="d/a"), b""),
    )
    made, out = stage({"a.tar": files}), tmp_path / "out"
    unpack(made, store, out).raise_for_failures()
    assert there(out) == dict.fromkeys(("a/d/a", "a/d/soft", "a/e/soft", "a/hard"), b"data")
    assert not any(path.is_symlink() for path in out.rglob("*"))
    (out / "stac/c/i/a/hard").write_bytes(b"mine")
    assert (out / "stac/c/i/a/d/a").read_bytes() == b"data"


def link(kind: bytes, target: str) -> tuple[bytes, str]:
    return tar((member("l", kind, linkname=target), b"")), "a link out of the archive"


GOOD = (member("first"), b"1")
EVIL = {
    "absolute": (tar((member("/etc/evil"), b"x")), "'/etc/evil' has no name inside"),
    "up": (tar(GOOD, (member("a/../../evil"), b"x")), "'a/../../evil' has no name inside"),
    "here": (tar((member("a/./evil"), b"x")), "has no name inside"),
    "empty part": (tar((member("a//evil"), b"x")), "has no name inside"),
    "backslash": (tar((member("..\\evil"), b"x")), "has no name inside"),
    "control": (tar((member("a\nb"), b"x")), "has no name inside"),
    "folder up": (tar((member("../evil", tarfile.DIRTYPE), b"")), "has no name inside"),
    "too long": (tar((member("x" * 256), b"x")), "has a name too long"),
    "link up": (
        tar((member("l", tarfile.SYMTYPE, linkname="../../etc/passwd"), b"")),
        "a link out of the archive",
    ),
    "link away": (
        tar((member("l", tarfile.SYMTYPE, linkname="/etc/passwd"), b"")),
        "a link out of the archive",
    ),
    "hard link": (
        tar((member("l", tarfile.LNKTYPE, linkname="/etc/passwd"), b"")),
        "a link out of the archive",
    ),
    "to itself": link(tarfile.SYMTYPE, "l"),
    "to a folder": (
        tar((member("d", tarfile.DIRTYPE), b""), (member("l", tarfile.SYMTYPE, linkname="d"), b"")),
        "a link out of the archive",
    ),
    "device": (tar((member("null", tarfile.CHRTYPE), b"")), "a device"),
    "pipe": (tar((member("pipe", tarfile.FIFOTYPE), b"")), "a device"),
    "twice": (tar(GOOD, GOOD), "has the member 'first' twice"),
    "file and folder": (tar((member("a"), b"x"), (member("a/b"), b"x")), "is a file and a folder"),
    "folder and file": (tar((member("a/b"), b"x"), (member("a"), b"x")), "is a file and a folder"),
    "no end": (tar(GOOD)[:1024], "cannot be unpacked: it ends without an end"),
    "a header in ruins": (tar(GOOD, (member("b"), b"2"))[:1100].ljust(4096, b"\1"), "it ends without an end"),
    "cut": (tar((member("a"), b"x" * 5000))[:2000], "cannot be unpacked"),
    "no tar": (b"\1" * 2000, "cannot be unpacked"),
}


@pytest.mark.parametrize("what", EVIL)
def test_a_tar_that_would_do_harm_is_refused_and_named(stage, store, tmp_path, what, capsys):
    content, why = EVIL[what]
    made, out = stage({"evil.tar": content, "good.zip": zipped()}), tmp_path / "out" / "deep"
    command = ["derive", "unpack", str(made.path), "--store", str(store.root), "-o", str(out)]
    assert cli.run(command) == 4
    said = capsys.readouterr()
    assert "failed   stac/c/i/evil.tar: " in said.err
    assert why in said.err
    assert said.out == f"{out / 'stac/c/i/good'}\n"
    assert there(out) == {f"good/{path}": content for path, content in FILES.items()}
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "store", "plan", "state", "cache"}
    assert [path for path in (out / ".skystage").iterdir() if path.is_dir()] == []


def negative(kind: bytes) -> bytes:
    """A tar with a header that says a length below zero."""
    header = bytearray(member("n", kind).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(2048)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evil.tar.bz2", lambda: b"BZh9" + bytes(2000)),
        ("evil.tar.bz2", lambda: bz2.compress(whole_tar())[:-20] + bytes(20)),
        ("evil.tar.gz", lambda: b"\x1f\x8b\x07" + bytes(2000)),
        # Its directory lies where the file would have to begin earlier.
        ("evil.zip", lambda: zipped()[:-6] + b"\xff\xff\xff\x7f\0\0"),
        ("evil.tar.gz", lambda: gzip.compress(negative(tarfile.GNUTYPE_LONGNAME))),
        ("evil.tar", lambda: negative(tarfile.XHDTYPE)),
    ],
    ids=["bzip2", "bzip2 cut", "gzip", "zip", "long name", "pax"],
)
def test_a_reader_that_stumbles_costs_that_archive_alone(stage, store, tmp_path, name, content):
    made = stage({name: content(), "good.zip": zipped()})
    outcome = unpack(made, store, tmp_path / "out")
    assert list(outcome.failures) == [f"stac/c/i/{name}"]
    assert isinstance(outcome.failures[f"stac/c/i/{name}"], StructureError)
    assert [one.asset for one in outcome.made] == ["stac/c/i/good.zip"]


def test_a_disk_that_refuses_is_no_broken_archive(stage, store, tmp_path):
    made = stage({"a.zip": zipped({"a": b"x", "b": b"y"})})
    (tmp_path / "out/stac/c/i").mkdir(parents=True)
    (tmp_path / "out/stac/c/i/a").write_bytes(b"in the way")
    with pytest.raises(OSError, match="Not a directory"):
        unpack(made, store, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (zipped({"../evil": b"x"}), "has no name inside"),
        (zipped({"/evil": b"x"}), "has no name inside"),
        (zipped({"link": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777), "a link or a device"),
        (zipped()[:-10], "cannot be unpacked"),
        (b"", "cannot be unpacked"),
    ],
    ids=["up", "absolute", "link", "cut", "empty"],
)
def test_a_zip_that_would_do_harm_is_refused(stage, store, tmp_path, content, why):
    made = stage({"evil.zip": content})
    with pytest.raises(FetchFailed, match=why):
        unpack(made, store, tmp_path / "out").raise_for_failures()


def test_a_zip_with_a_wrong_byte_is_refused(stage, store, tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", b"data" * 100)
    made = stage({"a.zip": out.getvalue().replace(b"data", b"dada", 1)})
    with pytest.raises(FetchFailed, match="Bad CRC-32"):
        unpack(made, store, tmp_path / "out").raise_for_failures()


def test_a_packed_tar_with_a_wrong_checksum_is_refused(stage, store, tmp_path):
    packed = bytearray(gzip.compress(whole_tar()))
    packed[-8] ^= 1
    made = stage({"a.tar.gz": bytes(packed)})
    with pytest.raises(FetchFailed, match="CRC check failed"):
        unpack(made, store, tmp_path / "out").raise_for_failures()


BOMBS = {
    "a.tar.gz": lambda: gzip.compress(tar((member("zeros", size=20 << 20), b""))),
    "a.zip": lambda: zipped({"zeros": bytes(20 << 20)}),
    # The header of a name says that the name is as long.
    "a.tgz": lambda: gzip.compress(tar((member("n", tarfile.GNUTYPE_LONGNAME, size=20 << 20), b""))),
    # One file, and many links to it.
    "a.tar.xz": lambda: lzma.compress(
        tar(
            (member("zeros", size=4 << 20), b""),
            *((member(str(n), tarfile.LNKTYPE, linkname="zeros"), b"") for n in range(4)),
        )
    ),
    "a.tar.bz2": lambda: bz2.compress(tar((member("a"), b"x")) + bytes(20 << 20)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_leaves_nothing(stage, store, tmp_path, name):
    made = stage({name: BOMBS[name]()})
    out = tmp_path / "out"
    (error,) = unpack(made, store, out).failures.values()
    assert isinstance(error, StructureError)
    assert "unpacks to more than 10,485,760 bytes, 100 times its size (--max-ratio allows more)" in str(error)
    assert there(out) == {}
    if name in ("a.zip", "a.tar.gz"):
        assert unpack(made, store, out, limits=Limits(times=2000)).failures == {}


def test_too_many_files_are_refused(stage, store, tmp_path, capsys):
    made = stage({"a.zip": zipped()})
    command = ["derive", "unpack", str(made.path), "--store", str(store.root), "-o", str(tmp_path / "out")]
    assert cli.run([*command, "--max-files", "2"]) == 4
    assert "has more than 2 files (--max-files allows more)" in capsys.readouterr().err
    assert cli.run([*command, "--max-files", "3"]) == 0


def test_what_is_not_staged_or_cannot_be_had_is_named(stage, store, tmp_path, capsys):
    made = stage({"a.zip": zipped()}, unresolved=(Unresolved(key="b", reason="no such file"),))
    store.path(next(made.assets())).unlink()
    command = ["derive", "unpack", str(made.path), "--store", str(store.root), "-o", str(tmp_path / "out")]
    assert cli.run(command) == 4
    said = capsys.readouterr().err
    assert "failed   stac/c/i/a.zip: not staged" in said
    assert "failed   i: b: no such file" in said


def test_two_archives_of_one_folder_and_none_at_all_are_said(stage, store, tmp_path):
    with pytest.raises(PlanError, match="a.zip and stac/c/i/a.tar would both be stac/c/i/a"):
        unpack(stage({"a.zip": zipped(), "a.tar": whole_tar()}), store, tmp_path / "out")
    with pytest.raises(PlanError, match="has no archives"):
        unpack(stage({"a.fits": b"S", "zip.fits": b"S"}), store, tmp_path / "out")
    assert unpacking.suffix(Asset(key="k", path="a/b/c/.zip")) is None


def test_what_a_killed_run_left_is_gone(stage, store, tmp_path):
    made, out = stage({"a.zip": zipped()}), tmp_path / "out"
    unpack(made, store, out).raise_for_failures()
    (lock,) = (out / ".skystage").glob("*.lock")
    left = lock.with_suffix(".work") / "files"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x")
    (out / "stac/c/i/a.json").unlink()
    unpack(made, store, out).raise_for_failures()
    assert there(out) == {f"a/{path}": content for path, content in FILES.items()}
    assert os.listdir(out / ".skystage") == [lock.name]
