"""A FITS file says itself how long it is and what its bytes add up to; astropy is the oracle."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skystage import cli, fitsfile, verify
from skystage import plan as plans
from skystage.errors import StructureError
from skystage.model import Asset, Granule, Query
from skystage.store import Store

fits = pytest.importorskip("astropy.io.fits")
np = pytest.importorskip("numpy")

BLOCK = 2880


def header(*cards: tuple[str, object]) -> bytes:
    """A header of these cards, in whole blocks."""
    lines = []
    for keyword, value in cards:
        if isinstance(value, bool):
            said = f"{'T' if value else 'F':>20}"
        elif isinstance(value, str):
            said = f"'{value:<8}'"
        else:
            said = f"{value!s:>20}"
        lines.append(f"{keyword:<8}= {said}"[:80].ljust(80))
    text = "".join([*lines, "END".ljust(80)]).encode("latin-1")
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


def data(content: bytes) -> bytes:
    """Data, filled up to whole blocks."""
    return content.ljust(-(-len(content) // BLOCK) * BLOCK, b"\0")


def primary(*cards: tuple[str, object]) -> bytes:
    """A primary header without data."""
    return header(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), *cards)


def image(content: bytes, *cards: tuple[str, object]) -> bytes:
    """An image of bytes, as an extension."""
    about = (("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", len(content)), ("PCOUNT", 0), ("GCOUNT", 1))
    return header(("XTENSION", "IMAGE"), *about, *cards) + data(content)


def check(content: bytes) -> bool:
    return fitsfile.check(io.BytesIO(content))


def summed() -> bytes:
    """A file of three HDUs, with the sums that astropy gives them."""
    table = np.rec.array([(1, 2.5), (3, -4.5)], dtype=[("A", "i4"), ("B", "f8")])
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.arange(700, dtype="i4").reshape(20, 35), name="SCI"),
        fits.BinTableHDU(table, name="EVENTS"),
    ]
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer, checksum=True)
    return buffer.getvalue()


SUMMED = summed()


def test_a_file_with_sums_in_each_header_is_proved_by_them():
    assert check(SUMMED)


def test_a_file_without_sums_is_whole_and_proved_by_nothing():
    assert not check(primary())
    assert not check(primary() + image(b"abc" * 2000))
    assert not check(primary(("CHECKSUM", "")) + image(b"abc"))


_STARTS = [at for at in range(0, len(SUMMED), 80) if SUMMED[at : at + 8] == b"CHECKSUM"]
KEYWORDS = [start + at for start in _STARTS for at in range(10)]


@given(st.integers(0, len(SUMMED) - 1).filter(lambda at: at not in KEYWORDS), st.integers(1, 255))
@example(347, 1).via("the quote behind a sum")
def test_one_changed_byte_is_found_wherever_it_is(at, bits):
    content = bytearray(SUMMED)
    content[at] ^= bits
    with pytest.raises(ValueError, match="HDU|FITS"):
        check(bytes(content))


def test_a_sum_that_is_no_longer_called_so_proves_nothing():
    for at in KEYWORDS:
        content = bytearray(SUMMED)
        content[at] ^= 1
        assert not check(bytes(content))


@given(st.integers(1, len(SUMMED) - 1))
def test_a_cut_file_is_found_wherever_it_is_cut(length):
    # Between two HDUs what is left is a whole file of fewer: only its size tells.
    if length in {BLOCK, 4 * BLOCK}:
        assert check(SUMMED[:length])
    else:
        with pytest.raises(ValueError, match="cut|begin as FITS"):
            check(SUMMED[:length])


@pytest.mark.parametrize("more", [b"\0", bytes(BLOCK), b"garbage", b"XTENSIOn" * 360])
def test_what_follows_the_last_hdu_is_found(more):
    with pytest.raises(ValueError, match="bytes behind HDU 2, its last one"):
        check(SUMMED + more)


@pytest.mark.parametrize("kind", ["i2", "i4", "i8", "f4", "f8", "u1"])
def test_the_sums_are_those_that_astropy_takes(kind):
    pixels = (np.arange(4800) * 2654435761 % 2**32 // 2**24).astype("u1").view(kind)
    if kind[0] == "f":
        pixels = np.nan_to_num(pixels)
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(pixels), fits.ImageHDU(pixels)]).writeto(buffer, checksum=True)
    assert check(buffer.getvalue())


@pytest.mark.parametrize("value", ["0", "4294967295"])
def test_the_sum_of_nothing_is_either_zero(value):
    check(primary(("DATASUM", value)))


def test_of_data_without_their_sum_the_sum_is_said():
    with pytest.raises(ValueError, match=r"HDU 1 \(DQ\): its data have the sum 16909060, its DATASUM is 7"):
        check(primary() + image(b"\1\2\3\4", ("EXTNAME", "DQ"), ("DATASUM", "7")))
    with pytest.raises(ValueError, match="DATASUM is what"):
        check(primary() + image(b"\1\2\3\4", ("DATASUM", "what")))


def test_random_groups_are_as_long_as_the_standard_says():
    said = [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 3), ("NAXIS1", 0), ("NAXIS2", 5), ("NAXIS3", 7)]
    groups = [("GROUPS", True), ("PCOUNT", 4), ("GCOUNT", 30)]
    long = 4 * 30 * (4 + 35)
    check(header(*said, *groups) + data(bytes(long)))
    with pytest.raises(ValueError, match=f"{long:,} bytes were to come"):
        check(header(*said, *groups) + data(bytes(long))[:-BLOCK])
    # Without the keyword an axis of no length has no data.
    check(header(*said))


def test_a_table_has_its_heap():
    head = header(
        ("XTENSION", "BINTABLE"),
        ("BITPIX", 8),
        ("NAXIS", 2),
        ("NAXIS1", 8),
        ("NAXIS2", 100),
        ("PCOUNT", 5000),
    )
    check(primary() + head + data(bytes(5800)))
    with pytest.raises(ValueError, match="cut: 5,800"):
        check(primary() + head + data(bytes(800)))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"PK\3\4".ljust(BLOCK), "does not begin as FITS does"),
        (primary()[:100], "HDU 0: its header is cut"),
        (header(("SIMPLE", True), ("BITPIX", 8)), "NAXIS is missing"),
        (header(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", "0")), "NAXIS is '0"),
        (header(("SIMPLE", True), ("BITPIX", 9), ("NAXIS", 0)), "BITPIX 9"),
        (header(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", -1)), "describes no data"),
        (header(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 1)), "NAXIS1 is missing"),
        (primary().replace(b"END ", b"XND "), "HDU 0: its header is cut"),
        (primary().replace(b"BITPIX  =  ", b"BITPIX  = \x1b"), r"HDU 0: its BITPIX is \? "),
    ],
)
def test_a_header_that_describes_nothing_is_named(content, problem):
    with pytest.raises(ValueError, match=problem):
        check(content)


def test_a_header_of_several_blocks_and_a_name_with_a_quote_are_read():
    many = [(f"K{number}", number) for number in range(100)]
    with pytest.raises(ValueError, match=r"HDU 1 \(O'NEILL\): its data are cut"):
        check(primary(*many) + image(bytes(3000), *many, ("EXTNAME", "O''NEILL"))[:-BLOCK])


def test_a_file_in_gzip_is_read_through(tmp_path):
    asset, path = Asset(key="data", path="a/c/x.fits.gz"), tmp_path / "x"
    packed = gzip.compress(SUMMED, mtime=0)
    path.write_bytes(packed)
    assert verify.prove(asset, path, {}) == "fits-checksum"
    for wrong in (packed[:-9], packed[:-5] + b"12345", packed + b"more", gzip.compress(SUMMED[:-1])):
        path.write_bytes(wrong)
        with pytest.raises(StructureError, match="not a whole .gz"):
            verify.prove(asset, path, {})


def test_gzip_of_anything_else_has_its_own_sum(tmp_path):
    asset, path = Asset(key="data", path="a/c/x.tar.gz"), tmp_path / "x"
    path.write_bytes(gzip.compress(b"text" * 1000))
    assert verify.prove(asset, path, {}) == "size+structure"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StructureError, match="end-of-stream"):
        verify.prove(asset, path, {})


def recorded(recordings: Path, pattern: str = "*") -> list[Path]:
    found = sorted((recordings / "astro").glob(f"*-fits/{pattern}"))
    if not found:
        pytest.skip("no FITS was recorded")
    return found


def test_what_the_archives_serve_is_as_it_says(recordings, tmp_path):
    proofs = {}
    for path in recorded(recordings):
        proofs[path.name] = verify.check_structure(Asset(key="data", path=f"a/{path.name}"), path)
    assert len(proofs) == 19
    named = {name for name, proof in proofs.items() if proof == "fits-checksum"}
    assert {name.partition("_")[0].partition("-")[0] for name in named} == {
        *("hlsp", "kplr010666592", "ktwo201907706")
    }


@pytest.mark.parametrize("pattern", ["kplr*", "hlsp_tess*"])
def test_a_changed_byte_of_what_the_archives_serve_is_found(recordings, pattern):
    (path,) = recorded(recordings, pattern)
    content = bytearray(path.read_bytes())
    numbers = random.Random(4)  # noqa: S311 - which bytes are changed
    for _ in range(20):
        at, bits = numbers.randrange(len(content)), numbers.randrange(1, 256)
        content[at] ^= bits
        with pytest.raises(ValueError, match="HDU|FITS"):
            check(bytes(content))
        content[at] ^= bits


def test_deep_verification_finds_what_grew_shrank_or_changed(recordings, tmp_path, capsys):
    """All recorded STIS files: adopted, then spoilt in their place without a trace in size or time."""
    files = recorded(recordings, "o*.fits")
    assets = [
        Asset(key=path.name, path=f"mast/HST/{path.name[:9]}/{path.name}", size=path.stat().st_size)
        for path in files
    ]
    granule = Granule(
        archive="mast", collection="HST", id="g", native_id="1", body="sky", assets=tuple(assets)
    )
    plan, store = tmp_path / "plan.ndjson", tmp_path / "store"
    plans.write(plan, query=Query(archive="mast"), granules=[granule], hits=1, received=1)
    old = tmp_path / "old"
    shutil.copytree(files[0].parent, old)
    assert cli.run(["adopt", str(plan), str(old), "--store", str(store), "--copy"]) == 0
    assert {Store(store).receipt(one).verified for one in assets} == {"size+structure"}
    assert cli.run(["verify", str(plan), "--store", str(store), "--deep"]) == 0
    numbers = random.Random(15)  # noqa: S311 - which bytes are changed
    for number, asset in enumerate(assets):
        path = store / asset.path
        before, content = path.stat(), bytearray(path.read_bytes())
        if number % 3 == 0:
            content[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
        elif number % 3 == 1:
            content += bytes(BLOCK)
        else:
            del content[-BLOCK:]
        path.chmod(0o644)
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    capsys.readouterr()
    assert cli.run(["verify", str(plan), "--store", str(store), "--deep"]) == 4
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(assets) == 15
    assert all(line.startswith("damaged") for line in said)
