"""The FITS files of the sandbox, judged by astropy."""

from __future__ import annotations

import io
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits as reader
from hypothesis import given
from hypothesis import strategies as some

from skystage.sandbox import fits, stis
from skystage.sandbox.files import Content, Cycle, Segment, Segments
from skystage.sandbox.mast_holdings import Holdings
from skystage.sandbox.mast_observations import observations

K2_62 = "mast:K2/url/missions/k2/lightcurves/c3/206000000/96000/ktwo206096602-c03_llc.fits"
NEIGHBOUR = "mast:K2/url/missions/k2/lightcurves/c3/206000000/96000/ktwo206096692-c03_llc.fits"


@pytest.fixture(scope="module")
def held() -> Holdings:
    return observations()


def read(content: Content) -> bytes:
    return content.read(0, content.size)


def together(segments: list[Segment]) -> bytes:
    return read(Segments("x.fits", "", datetime.now(UTC), None, lambda: segments))


def checked(data: bytes) -> reader.HDUList:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        units = reader.open(io.BytesIO(data), checksum=True)
        units.verify("exception")
        for unit in units:
            assert unit.verify_checksum() == unit.verify_datasum() == 1
            assert unit.data is None or len(unit.data)
    return units


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 27])
def test_a_file_has_the_size_that_is_asked_for(blocks: int) -> None:
    data = together(fits.of_size(blocks * 2880, {"OBJECT": "it's", "EXPTIME": 1.5e-7, "SIMPLY": None}, 7))
    assert len(data) == blocks * 2880
    header = checked(data)[0].header
    assert (header["OBJECT"], header["EXPTIME"]) == ("it's", 1.5e-7)
    assert fits.read_header(data)["OBJECT"][:2] == "it"


@pytest.mark.parametrize("size", [0, 2879, 2881])
def test_a_file_has_whole_blocks(size: int) -> None:
    with pytest.raises(ValueError, match="whole blocks"):
        fits.of_size(size, {}, 1)


@pytest.mark.parametrize("value", ["x" * 71, "ü"])
def test_a_card_takes_what_fits(value: str) -> None:
    with pytest.raises(ValueError, match="card|ascii"):
        fits.card("OBJECT", value)


@given(data=some.binary(max_size=40).map(lambda text: text[: len(text) // 4 * 4]))
def test_words_are_summed_with_the_carry_taken_around(data: bytes) -> None:
    total = 0
    for at in range(0, len(data), 4):
        total += int.from_bytes(data[at : at + 4], "big")
        total = (total & 0xFFFFFFFF) + (total >> 32)
    assert fits.word_sum(data) == total


@given(total=some.integers(0, 0xFFFFFFFF))
def test_a_checksum_is_spelled_with_letters_and_digits(total: int) -> None:
    assert fits.spell(total).isalnum()


@given(start=some.integers(0, 60), length=some.integers(0, 40))
def test_a_cycle_reads_the_same_from_anywhere(start: int, length: int) -> None:
    cycle = Cycle(b"0123456", 100)
    assert cycle.read(start, start + length) == (b"0123456" * 20)[start : start + length]


def test_all_products_of_the_proposal_prove_their_bytes(held: Holdings) -> None:
    seen = 0
    for obsid in ("24919901", "24919903", "24454469"):
        for row in held.products_of(obsid):
            content = held.files[row["dataURI"]].content
            assert content is not None
            data = read(content)
            assert len(data) == row["size"] == content.size
            if row["productFilename"].endswith(".fits"):
                assert checked(data)[0].header["FILENAME"] == row["productFilename"]
                seen += 1
            else:
                assert data.startswith(b"\x89PNG")
    assert seen == 27


def test_images_and_spectra_have_the_form_of_the_real_ones(held: Holdings) -> None:
    def open_one(suffix: str) -> reader.HDUList:
        content = held.files[f"mast:HST/product/o58701010_{suffix}.fits"].content
        assert content is not None
        return checked(read(content))

    for suffix, side in (("x2d", 1201), ("flt", 1024)):
        assert [(u.name, u.data.shape, u.header["BITPIX"]) for u in open_one(suffix)[1:]] == [
            ("SCI", (side, side), -32),
            ("ERR", (side, side), -32),
            ("DQ", (side, side), 16),
        ]
    table = open_one("x1d")[1].data
    assert table["WAVELENGTH"][0][[0, -1]].tolist() == pytest.approx([1150, 1730])
    assert abs(table["WAVELENGTH"][0][table["FLUX"][0].argmax()] - 1215.67) < 1


def test_one_byte_of_data_breaks_the_checksum(held: Holdings) -> None:
    content = held.files["mast:HST/product/o58701010_x2d.fits"].content
    assert content is not None
    data = bytearray(read(content))
    data[5_000_000] ^= 1
    units = reader.open(io.BytesIO(bytes(data)))
    assert [unit.verify_datasum() for unit in units] == [1, 0, 1, 1]


def folded(held: Holdings, uri: str, period: float, epoch: float) -> float:
    """How much light is missing at the middle of a passage, as a part of one."""
    content = held.files[uri].content
    assert content is not None
    table = checked(read(content))[1].data
    time, flux = np.array(table["TIME"], float), np.array(table["PDCSAP_FLUX"], float)
    good = np.isfinite(time) & np.isfinite(flux)
    phase = np.abs((time[good] - epoch + period / 2) % period - period / 2)
    flux = flux[good] / np.median(flux[good])
    return float(1 - flux[phase < 0.05].mean() / flux[phase > 0.2].mean())


def test_a_planet_passes_before_k2_62_and_not_before_its_neighbour(held: Holdings) -> None:
    assert folded(held, K2_62, 6.67202, 2145.6) == pytest.approx(8e-4, rel=0.3)
    assert abs(folded(held, NEIGHBOUR, 6.67202, 2145.6)) < 3e-4


@pytest.mark.parametrize(
    ("uri", "flags", "reference", "part"),
    [
        (K2_62, "SAP_QUALITY", 2454833, ("CAMPAIGN", 3)),
        (
            "mast:Kepler/url/missions/kepler/lightcurves/0106/010666592/kplr010666592-2009166043257_llc.fits",
            "SAP_QUALITY",
            2454833,
            ("QUARTER", 1),
        ),
        (
            "mast:TESS/product/tess2018206045859-s0001-0000000025155310-0120-s_lc.fits",
            "QUALITY",
            2457000,
            ("SECTOR", 1),
        ),
    ],
)
def test_light_curves_have_the_columns_of_their_mission(
    held: Holdings, uri: str, flags: str, reference: int, part: tuple[str, int]
) -> None:
    content = held.files[uri].content
    assert content is not None
    units = checked(read(content))
    table = units["LIGHTCURVE"]
    assert {"TIME", "CADENCENO", "SAP_FLUX", "SAP_FLUX_ERR", "PDCSAP_FLUX", flags} <= set(table.columns.names)
    assert len(table.columns.names) == 20
    assert (table.header["BJDREFI"], table.header["TIMEUNIT"]) == (reference, "d")
    assert units[0].header[part[0]] == part[1]
    gone = np.isnan(table.data["TIME"])
    assert gone.sum() == 8
    assert (table.data[flags][gone] > 0).all()
    assert (table.data[flags][~gone] > 0).any()
    times = table.data["TIME"][~gone]
    assert (np.diff(times) > 0).all()


def test_what_is_no_fits_file_is_bytes_of_that_size() -> None:
    assert len(read(stis.content("a.jpg", 12_345, {}))) == 12_345
    assert len(read(stis.content("a_raw.fits", 100, {}))) == 100
