"""Light curves: the numbers that astropy reads, every cadence, once, whole; what is none is named."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from skystage import cli, planning, query
from skystage import plan as plans
from skystage.derive import curves
from skystage.derive.lightcurves import Options, extract, extract_all, names
from skystage.errors import FetchFailed, Offline, QueryError, SkystageError, StructureError, Unresolvable
from skystage.fetch import fetch_asset
from skystage.model import Asset, Granule, Query, Unresolved
from skystage.plan import Plan
from skystage.release import release_plan
from skystage.store import Store

fits = pytest.importorskip("astropy.io.fits")
np = pytest.importorskip("numpy")
parquet = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
from astropy.table import Table  # noqa: E402

ROWS = 60
BARE = Options(picture=False)


def columns(flux: str = "PDCSAP_FLUX", quality: str = "SAP_QUALITY", count: int = ROWS) -> list:
    """The columns of a light curve whose third cadence desaturates a wheel, and whose fifth has no flux."""
    time = 120.5 + np.arange(count) / 50
    values = (1000 + np.sin(time) * 5).astype("f4")
    values[4] = np.nan
    flags = np.zeros(count, "i4")
    flags[2] = 32
    flags[7] = 128
    return [
        fits.Column("TIME", "D", unit="BJD - 2454833", array=time),
        fits.Column("CADENCENO", "J", array=np.arange(count) + 900),
        fits.Column("SAP_FLUX", "E", unit="e-/s", array=values - 3),
        fits.Column(flux, "E", unit="e-/s", array=values),
        fits.Column(f"{flux}_ERR", "E", unit="e-/s", array=values / 1000),
        fits.Column(quality, "J", array=flags),
        fits.Column("POS_CORR1", "E", unit="pixels", array=values / 7),
        fits.Column("PIXELS", "4E", array=np.zeros((count, 4))),
        fits.Column("NOTE", "3A", array=["abc"] * count),
    ]


def write(path: Path, made: list | None = None, *, table: dict | None = None, **primary: object) -> Path:
    """A file as the missions write it."""
    first = fits.PrimaryHDU()
    about = {"OBJECT": "KIC 1", "TELESCOP": "Kepler", "MISSION": "Kepler", "QUARTER": 3, "RA_OBJ": 290.5}
    for name, value in {**about, **primary}.items():
        first.header[name] = value
    second = fits.BinTableHDU.from_columns(columns() if made is None else made, name="LIGHTCURVE")
    times = {"BJDREFI": 2454833, "BJDREFF": 0.25, "TIMESYS": "TDB", "TIMEREF": "SOLARSYSTEM"}
    for name, value in (times if table is None else table).items():
        second.header[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([first, second]).writeto(path, checksum=True, overwrite=True)
    return path


def files(out: Path) -> list[Path]:
    """What was made, without what locks are made of."""
    return [path for path in out.rglob("*") if path.is_file() and ".skystage" not in path.parts]


@pytest.fixture
def plan(tmp_path):
    """A plan of files that are there, and its store: ``plan({name: path})``."""

    def make(files: dict[str, Path], unresolved: tuple[Unresolved, ...] = ()) -> tuple[Plan, Store]:
        old, store = tmp_path / "old", Store(tmp_path / "store")
        granules = []
        for name, path in files.items():
            target = old / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            stem = name.partition(".")[0]
            asset = Asset(key=name, path=f"mast/Kepler/{stem}/{name}", size=path.stat().st_size)
            granules.append(
                Granule(
                    archive="mast",
                    collection="Kepler",
                    id=stem,
                    native_id=stem,
                    body="sky",
                    assets=(asset,),
                    unresolved=unresolved,
                )
            )
        granules.sort(key=lambda one: one.id)
        count = len(granules)
        made = plans.write(
            tmp_path / "p.ndjson", query=Query(archive="mast"), granules=granules, hits=count, received=count
        )
        assert cli.run(["adopt", str(made.path), str(old), "--store", str(store.root), "--copy"]) in {0, 4}
        store.refresh()
        return made, store

    return make


# --------------------------------------------------------------------------------------------------
# What is read


def test_every_cadence_and_every_number_column_is_in_the_table(tmp_path):
    path = write(tmp_path / "kplr1_llc.fits")
    made = extract(path, tmp_path / "out", BARE)
    table = Table.read(made.table)
    data = fits.getdata(path, 1)
    assert table.colnames == [
        *("time", "cadence", "flux", "flux_err", "quality", "good", "SAP_FLUX", "POS_CORR1")
    ]
    for name, own in (
        *(("time", "TIME"), ("cadence", "CADENCENO"), ("flux", "PDCSAP_FLUX"), ("quality", "SAP_QUALITY")),
        *(("flux_err", "PDCSAP_FLUX_ERR"), ("SAP_FLUX", "SAP_FLUX"), ("POS_CORR1", "POS_CORR1")),
    ):
        assert np.array_equal(table[name], data[own], equal_nan=True), name
    assert [str(table[name].unit or "") for name in table.colnames] == [
        *("d", "", "electron / s", "electron / s", "", "", "electron / s", "pix")
    ]
    assert np.flatnonzero(~table["good"]).tolist() == [2, 4]
    assert table.meta == {
        "target": "KIC 1",
        "mission": "Kepler",
        "segment": "quarter 3",
        "ra_deg": 290.5,
        "time_zero_jd": 2454833.25,
        "time_scale": "TDB",
        "time_reference": "SOLARSYSTEM",
        "flux_column": "PDCSAP_FLUX",
        "flux_err_column": "PDCSAP_FLUX_ERR",
        "quality_column": "SAP_QUALITY",
        "quality_mask": 1130799,
        "source": "kplr1_llc.fits",
        "source_sha256": made_sha(path),
    }
    assert made.summary["flags"] == {"reaction wheel desaturation": 1, "cosmic ray in the aperture": 1}
    assert (made.summary["cadences"], made.summary["good"]) == (ROWS, ROWS - 2)


def made_sha(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_ecsv_says_the_same(tmp_path):
    path = write(tmp_path / "k.fits")
    one = Table.read(extract(path, tmp_path / "out", BARE).table)
    other = Table.read(extract(path, tmp_path / "out", Options(format="ecsv", picture=False)).table)
    assert one.colnames == other.colnames
    assert one.meta == other.meta
    for name in one.colnames:
        assert np.array_equal(one[name], np.ma.filled(other[name].astype(float), np.nan), equal_nan=True)
        assert one[name].unit == other[name].unit


def recorded(recordings: Path, pattern: str) -> Path:
    found = sorted((recordings / "astro" / "lightcurves-fits").glob(pattern))
    if not found:
        pytest.skip(f"{pattern} was not recorded")
    return found[0]


@pytest.mark.parametrize(
    ("pattern", "names", "summary"),
    [
        (
            "kplr*_slc.fits",
            ("TIME", "CADENCENO", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR", "SAP_QUALITY"),
            ("KIC 10666592", "Kepler", "quarter 0", "short cadence", 2454833.0, 14280, 14234),
        ),
        (
            "hlsp_tess*_lc.fits",
            ("TIME", "CADENCENO", "PDCSAP_FLUX", "PDCSAP_FLUX_ERR", "QUALITY"),
            ("TIC 25155310", "TESS", "sector 1", "", 2457000.0, 20076, 18103),
        ),
        (
            "hlsp_k2sff*_llc.fits",
            ("T", "CADENCENO", "FCOR", "", "MOVING"),
            ("EPIC 201367065", "K2", "campaign 1", "long cadence", 2454833.0, 3632, 3337),
        ),
    ],
)
def test_what_the_missions_serve_is_read_as_astropy_reads_it(recordings, tmp_path, pattern, names, summary):
    path = recorded(recordings, pattern)
    made = extract(path, tmp_path, Options())
    keys = ("target", "mission", "segment", "mode", "time_zero", "cadences", "good")
    assert tuple(made.summary[key] for key in keys) == summary
    table, data = Table.read(made.table), fits.getdata(path, 1)
    for ours, own in zip(("time", "cadence", "flux", "flux_err", "quality"), names, strict=True):
        if own:
            assert np.array_equal(table[ours], data[own], equal_nan=True), own
        else:
            assert np.isnan(table[ours]).all()
    assert len(table.colnames) == len(data.names) + 1 + names.count("")
    assert made.picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("pattern", ["kplr*_slc.fits", "hlsp_tess*_lc.fits"])
def test_a_changed_byte_of_a_recorded_light_curve_is_named(recordings, tmp_path, pattern):
    content = bytearray(recorded(recordings, pattern).read_bytes())
    content[len(content) // 2] ^= 4
    path = tmp_path / "broken.fits"
    path.write_bytes(content)
    with pytest.raises(StructureError, match=r"broken.fits: cannot be read: HDU 1 \(LIGHTCURVE\): its C"):
        extract(path, tmp_path / "out")
    assert files(tmp_path / "out") == []


def test_other_files_of_the_archive_are_named_as_what_they_are(recordings, tmp_path):
    made = extract(recorded(recordings, "ktwo*.fits.gz"), tmp_path)
    assert made.skipped == "no light curve: it has an image"
    (first, *_) = sorted((recordings / "astro" / "hst-stis-fits").glob("*_x1d.fits"))
    assert extract(first, tmp_path).skipped == "no light curve: it has a table (SCI)"


def test_a_target_pixel_file_is_no_light_curve(tmp_path):
    pixels = np.zeros((5, 3, 3), "f4")
    made = [
        fits.Column("TIME", "D", array=np.arange(5.0)),
        fits.Column("FLUX", "9E", dim="(3,3)", array=pixels),
    ]
    assert (
        extract(write(tmp_path / "tpf.fits", made), tmp_path).skipped
        == "no light curve: it has target pixels"
    )
    bare = tmp_path / "bare.fits"
    fits.PrimaryHDU().writeto(bare)
    assert extract(bare, tmp_path).skipped == "no light curve: it has nothing but a header"
    table = write(tmp_path / "t.fits", [fits.Column("A", "J", array=[1])])
    with fits.open(table, mode="update") as file:
        file[1].name = ""
    assert extract(table, tmp_path).skipped == "no light curve: it has a table"


def test_a_column_that_is_called_as_one_of_ours_is_in_capitals(tmp_path):
    more = [fits.Column(name, "E", array=np.ones(ROWS)) for name in ("good", "flux", "Sky")]
    made = extract(write(tmp_path / "k.fits", [*columns(), *more]), tmp_path, BARE)
    found = Table.read(made.table)
    assert found.colnames[:6] == ["time", "cadence", "flux", "flux_err", "quality", "good"]
    assert found.colnames[-3:] == ["GOOD", "FLUX", "Sky"]
    assert not found["good"].all()


def test_a_packed_file_is_read(tmp_path):
    path = write(tmp_path / "k.fits")
    packed = tmp_path / "k.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    one, other = extract(path, tmp_path / "out", BARE), extract(packed, tmp_path / "out", BARE)
    assert (one.table.name, other.table.name) == ("k.parquet", "k.gz.parquet")
    assert one.summary == other.summary
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(StructureError, match="cannot be read"):
        extract(packed, tmp_path / "out", BARE)


def test_a_file_that_does_not_say_when_its_time_begins_is_refused(tmp_path):
    with pytest.raises(StructureError, match="when its time begins: BJDREFI"):
        extract(write(tmp_path / "k.fits", table={}), tmp_path)


def test_a_card_without_value_is_not_taken_for_one(tmp_path):
    path = write(tmp_path / "k.fits", QUARTER=fits.card.Undefined(), CAMPAIGN=4, RA_OBJ="what")
    made = extract(path, tmp_path, BARE)
    assert made.summary["segment"] == "campaign 4"
    assert "ra_deg" not in Table.read(made.table).meta


# --------------------------------------------------------------------------------------------------
# Flux and quality


@pytest.mark.parametrize(
    ("flux", "column"),
    [
        *(("corrected", "PDCSAP_FLUX"), ("raw", "SAP_FLUX"), ("sap", "SAP_FLUX"), ("PDCSAP", "PDCSAP_FLUX")),
        *(("sap_flux", "SAP_FLUX"),),
    ],
)
def test_a_flux_goes_by_its_role_or_by_its_name(tmp_path, flux, column):
    made = extract(write(tmp_path / "k.fits"), tmp_path, Options(flux=flux, picture=False))
    assert made.summary["flux_column"] == column
    assert made.table.name == ("k.parquet" if flux == "corrected" else f"k_{flux.lower()}.parquet")


def test_a_flux_that_a_file_has_not_is_never_another_one(tmp_path):
    with pytest.raises(Unresolvable) as caught:
        extract(write(tmp_path / "k.fits"), tmp_path, Options(flux="pdsap"))
    assert str(caught.value) == (
        "k.fits: has no flux 'pdsap' (--flux: it has SAP_FLUX, PDCSAP_FLUX; did you mean 'PDCSAP_FLUX'?)"
    )


def test_the_masks_are_those_that_the_field_uses():
    # lightkurve 2.6 calls these so.
    assert (curves.KEPLER.mask("default"), curves.KEPLER.mask("hard")) == (1130799, 1664431)
    assert (curves.TESS.mask("default"), curves.TESS.mask("hard")) == (17087, 24319)
    assert (curves.MOVING.mask("default"), curves.MOVING.mask("none")) == (1, 0)
    assert curves.UNKNOWN.mask("default") == curves.UNKNOWN.mask("hard") == 2**31 - 1


@pytest.mark.parametrize(
    ("quality", "bad"),
    [("default", [2, 4]), ("hard", [2, 4, 7]), ("none", [4]), ("128", [4, 7]), ("0x80", [4, 7]), ("0", [4])],
)
def test_a_cadence_is_bad_by_the_flags_that_are_asked_for(tmp_path, quality, bad):
    made = extract(write(tmp_path / "k.fits"), tmp_path, Options(quality=quality, picture=False))
    assert np.flatnonzero(~Table.read(made.table)["good"]).tolist() == bad
    assert made.summary["good"] == ROWS - len(bad)


def test_of_an_unknown_mission_any_flag_is_bad(tmp_path):
    made = extract(write(tmp_path / "k.fits", TELESCOP="CHEOPS", MISSION=""), tmp_path, BARE)
    assert made.summary["mission"] == "CHEOPS"
    assert made.summary["flags"] == {"flag 32": 1, "flag 128": 1}
    assert np.flatnonzero(~Table.read(made.table)["good"]).tolist() == [2, 4, 7]


def test_without_a_quality_column_nothing_is_flagged(tmp_path):
    kept = [one for one in columns() if one.name not in {"SAP_QUALITY", "CADENCENO"}]
    made = extract(write(tmp_path / "k.fits", kept), tmp_path, BARE)
    table = Table.read(made.table)
    assert made.summary["flags"] == {}
    assert set(table["quality"]) == {0}
    assert set(table["cadence"]) == {-1}
    assert table["quality"].description == "not in the file"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"format": "parkett"}, "--format: got 'parkett' (allowed: parquet, ecsv; did you mean 'parquet'?)"),
        (
            {"quality": "hart"},
            "--quality: got 'hart' (allowed: default, hard, none, or a sum of flags; did",
        ),
        ({"quality": "-1"}, "--quality: got '-1' (allowed: default, hard, none, or a sum of flags)"),
        ({"flux": "a/b"}, "--flux: got 'a/b' (allowed: corrected, raw, or a column's name: pdcsap)"),
    ],
)
def test_an_option_that_cannot_be_is_one_helpful_line(given, said):
    with pytest.raises(QueryError) as caught:
        Options(**given)
    assert str(caught.value).startswith(said)


# --------------------------------------------------------------------------------------------------
# The picture


def test_a_picture_is_the_same_bytes_each_time_and_others_for_other_flags(tmp_path):
    path = write(tmp_path / "k.fits")
    drawn = [extract(path, tmp_path / str(number)).picture.read_bytes() for number in range(2)]
    assert drawn[0] == drawn[1]
    assert extract(path, tmp_path / "2", Options(quality="hard")).picture.read_bytes() != drawn[0]


def test_a_picture_names_target_flux_unit_and_time(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    shown = []
    real = Figure.savefig

    def savefig(figure, *arguments, **options):
        axes = figure.axes[0]
        shown.append([axes.get_title("left"), axes.get_title("right"), axes.get_xlabel(), axes.get_ylabel()])
        shown.append([text.get_text() for text in figure.legends[0].get_texts()])
        shown.append([line.get_xydata() for line in axes.lines])
        return real(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    extract(write(tmp_path / "k.fits", OBSMODE="long cadence"), tmp_path)
    labels, legend, (good, bad) = shown
    assert labels == [
        *("KIC 1", "Kepler, quarter 3, long cadence", "time (BJD - 2454833.25, TDB days)"),
        "PDCSAP_FLUX (electron / s)",
    ]
    assert legend == ["good (58)", "flagged, or without flux (2)"]
    assert len(good) == 58
    # The flagged one is where it is, the one without flux at the lower edge.
    assert bad[0][1] == pytest.approx(1000 + 5 * np.sin(bad[0][0]))
    assert bad[1][1] < good[:, 1].min()


@pytest.mark.parametrize("what", ["nothing is good", "no flux at all", "all the same"])
def test_a_strange_light_curve_is_drawn_too(tmp_path, what):
    made = columns()
    values = np.full(ROWS, np.nan if what == "no flux at all" else 7.0, "f4")
    made[3] = fits.Column("PDCSAP_FLUX", "E", array=values)
    if what == "nothing is good":
        made[5] = fits.Column("SAP_QUALITY", "J", array=np.full(ROWS, 1))
    found = extract(write(tmp_path / "k.fits", made, OBJECT=""), tmp_path)
    assert found.picture.stat().st_size > 5000
    assert (found.summary["first"] is None) == (what != "all the same")


# --------------------------------------------------------------------------------------------------
# Plans


def test_what_is_made_of_a_plan_lies_under_the_assets_own_paths_and_is_made_once(plan, tmp_path):
    made, store = plan(
        {"a.fits": write(tmp_path / "a.fits"), "b.fits": write(tmp_path / "b.fits", OBJECT="KIC 2")}
    )
    out = tmp_path / "out"
    first = extract_all(made, store, out)
    assert [one.table.relative_to(out).as_posix() for one in first.made] == [
        *("mast/Kepler/a/a.parquet", "mast/Kepler/b/b.parquet")
    ]
    assert [one.already for one in first.made] == [False, False]
    before = {path: path.stat().st_mtime_ns for path in files(out)}
    again = extract_all(made, store, out)
    assert [one.already for one in again.made] == [True, True]
    assert [one.summary for one in again.made] == [one.summary for one in first.made]
    assert {path: path.stat().st_mtime_ns for path in files(out)} == before
    # What was changed is made again, and so is what has no receipt.
    first.made[0].picture.write_bytes(b"")
    (out / f"{names('mast/Kepler/b/b.fits', Options())[0]}.json").unlink()
    assert [one.already for one in extract_all(made, store, out).made] == [False, False]
    assert not list((out / ".skystage").glob("*.work"))


def test_the_same_file_gives_the_same_bytes(plan, tmp_path):
    made, store = plan({"a.fits": write(tmp_path / "a.fits")})
    for options in (Options(), Options(format="ecsv")):
        (one,) = extract_all(made, store, tmp_path / "1", options).made
        (other,) = extract_all(made, store, tmp_path / "2", options).made
        assert one.table.read_bytes() == other.table.read_bytes()
        assert one.picture.read_bytes() == other.picture.read_bytes()


def derive(plan: Plan, store: Store, tmp_path: Path) -> list[str]:
    given = (plan.path, "--store", store.root, "-o", tmp_path / "out")
    return ["derive", "lightcurves", *map(str, given)]


def test_a_broken_file_is_named_and_the_rest_go_on(plan, tmp_path, capsys):
    good = write(tmp_path / "a.fits")
    # Whole by its size and its blocks; but its table says that it begins at no time.
    broken = write(tmp_path / "b.fits", table={})
    preview = tmp_path / "d.png"
    preview.write_bytes(b"\x89PNG")
    tpf = write(tmp_path / "c.fits", [fits.Column("A", "J", array=[1])])
    made, store = plan({"a.fits": good, "b.fits": broken, "c.fits": tpf, "d.png": preview, "e.fits": good})
    capsys.readouterr()
    command = [
        "derive",
        "lightcurves",
        str(made.path),
        "--store",
        str(store.root),
        "-o",
        str(tmp_path / "out"),
    ]
    assert cli.run([*command, "--json"]) == 4
    said = json.loads(capsys.readouterr().out)
    assert [Path(one["source"]).name for one in said["made"]] == ["a.fits", "e.fits"]
    assert {Path(one["source"]).name: one["reason"] for one in said["skipped"]} == {
        "c.fits": "no light curve: it has a table (LIGHTCURVE)",
        "d.png": "no FITS",
    }
    assert [(Path(one["source"]).name, one["error"]) for one in said["failed"]] == [
        ("b.fits", "StructureError")
    ]
    assert cli.run(command) == 4
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "already  mast/Kepler/a/a.fits: KIC 1, Kepler, quarter 3: 58 good of 60 cadences" in err
    assert "failed   b.fits: cannot be read: it does not say when its time begins: BJDREFI" in err
    with pytest.raises(FetchFailed, match="1 of 5"):
        extract_all(made, store, tmp_path / "out", BARE).raise_for_failures()


def test_a_file_that_the_tools_cannot_take_is_named_and_the_rest_go_on(plan, tmp_path):
    far = columns()
    far[3] = fits.Column("PDCSAP_FLUX", "D", array=np.r_[np.ones(ROWS - 2), 1e308, -1e308])
    made, store = plan({"a.fits": write(tmp_path / "a.fits", far), "b.fits": write(tmp_path / "b.fits")})
    found = extract_all(made, store, tmp_path / "out")
    assert [Path(one.source).name for one in found.made] == ["b.fits"]
    ((path, error),) = found.failures.items()
    assert str(error).startswith(f"{path}: ValueError: ")
    assert not list((tmp_path / "out").rglob("a*"))


def test_what_is_not_staged_is_named_with_the_command_that_brings_it(plan, tmp_path):
    made, _ = plan({"a.fits": write(tmp_path / "a.fits")})
    found = extract_all(made, Store(tmp_path / "empty"), tmp_path / "out", BARE)
    (error,) = found.failures.values()
    assert isinstance(error, Offline)
    assert error.hint.endswith("--asset a.fits")


def test_what_was_released_is_not_needed_while_its_table_is_there(plan, tmp_path):
    made, store = plan({"a.fits": write(tmp_path / "a.fits")})
    extract_all(made, store, tmp_path / "out", BARE).raise_for_failures()
    release_plan(made, store)
    (one,) = extract_all(made, store, tmp_path / "out", BARE).made
    assert one.already
    (error,) = extract_all(made, store, tmp_path / "other", BARE).failures.values()
    assert "was released" in str(error)


def test_a_batch_a_granule_or_a_key_is_a_part_of_it(plan, tmp_path):
    made, store = plan({f"{name}.fits": write(tmp_path / f"{name}.fits") for name in "abcd"})

    def sources(**part) -> list[str]:
        return [
            Path(one.source).name for one in extract_all(made, store, tmp_path / "out", BARE, **part).made
        ]

    assert sources(batch=(1, 2)) + sources(batch=(2, 2)) == ["a.fits", "b.fits", "c.fits", "d.fits"]
    assert sources(batch="c") == ["c.fits"]
    assert sources(keys=["b.fits"]) == ["b.fits"]


def test_what_the_plan_lacks_is_a_failure(plan, tmp_path):
    made, store = plan({"a.fits": write(tmp_path / "a.fits")}, (Unresolved(key="x", reason="gone"),))
    found = extract_all(made, store, tmp_path / "out", BARE)
    assert len(found.made) == 1
    assert list(found.failures) == ["a: x"]


def test_a_plan_without_light_curves_is_nothing(plan, tmp_path, capsys):
    preview = tmp_path / "d.png"
    preview.write_bytes(b"\x89PNG")
    made, store = plan({"d.png": preview})
    command = [
        "derive",
        "lightcurves",
        str(made.path),
        "--store",
        str(store.root),
        "-o",
        str(tmp_path / "out"),
    ]
    assert cli.run(command) == 3
    assert "no light curve in it" in capsys.readouterr().err


def test_all_of_them_are_joined_in_one_table(plan, tmp_path, capsys):
    tess = columns("PDCSAP_FLUX", "QUALITY", 30)
    made, store = plan(
        {
            "a.fits": write(tmp_path / "a.fits"),
            "b.fits": write(tmp_path / "b.fits", tess, TELESCOP="TESS", MISSION="", OBJECT="TIC 7", SECTOR=2),
        }
    )
    target = tmp_path / "all" / "all.parquet"
    command = [
        "derive",
        "lightcurves",
        str(made.path),
        "--store",
        str(store.root),
        "-o",
        str(tmp_path / "out"),
    ]
    assert cli.run([*command, "--no-picture", "--together", str(target)]) == 0
    assert "90 cadences in" in capsys.readouterr().err
    table = parquet.read_table(target)
    assert table.num_rows == 90
    assert parquet.ParquetFile(target).num_row_groups == 2
    rows = table.to_pylist()
    assert {
        key: rows[60][key] for key in ("target", "mission", "segment", "source", "cadence", "flux_unit")
    } == {
        "target": "TIC 7",
        "mission": "TESS",
        "segment": "quarter 3",
        "source": "mast/Kepler/b/b.fits",
        "cadence": 900,
        "flux_unit": "electron / s",
    }
    assert {row["time_zero"] for row in rows} == {2454833.25}
    assert [row["good"] for row in rows[:5]] == [True, True, False, True, False]
    with pytest.raises(QueryError, match="--together: with --format ecsv"):
        extract_all(made, store, tmp_path / "out", Options(format="ecsv"), together=target)


@pytest.mark.parametrize(("name", "extra"), [("matplotlib", "plot"), ("pyarrow", "parquet")])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, name, extra):
    path = write(tmp_path / "k.fits")
    monkeypatch.setattr("skystage.derive.lightcurves.version", _without(name))
    with pytest.raises(SkystageError, match=rf"{name} is not installed .*skystage\[{extra}\]"):
        extract(path, tmp_path / "out")


def _without(name: str):
    from importlib.metadata import PackageNotFoundError, version

    def look(package: str) -> str:
        if package == name:
            raise PackageNotFoundError(name)
        return version(package)

    return look


def test_many_files_take_no_more_memory_than_one(plan, tmp_path):
    path = write(tmp_path / "a.fits", columns(count=20_000))
    made, store = plan({f"f{number:02}.fits": path for number in range(10)})
    peaks = []
    for keys in (["f00.fits"], ["f01.fits"], [f"f{number:02}.fits" for number in range(2, 10)]):
        tracemalloc.start()
        together = tmp_path / "all.parquet"
        extract_all(made, store, tmp_path / "out", BARE, keys=keys, together=together).raise_for_failures()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1]


# --------------------------------------------------------------------------------------------------
# From the archive in a box


@pytest.fixture
def k2_62(box, access, tmp_path, monkeypatch) -> Asset:
    """The light curve of K2-62 as MAST has it."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    asked = {"archive": "mast", "target_name": "ktwo206096602", "select": {"extension": "_llc.fits"}}
    made = planning.build(query.parse(asked), tmp_path / "plan.ndjson", access)
    (asset,) = made.assets()
    return asset


def test_a_light_curve_is_proved_by_its_own_checksums(k2_62, access, store):
    assert k2_62.checksums == {}
    assert fetch_asset(k2_62, store, access).verified == "fits-checksum"


def test_a_byte_that_changes_on_the_way_is_found_and_the_file_asked_for_again(box, k2_62, access, store):
    box.set_faults([{"match": {"path": "*_llc.fits"}, "corrupt": 50_000}])
    receipt = fetch_asset(k2_62, store, access)
    assert receipt.verified == "fits-checksum"
    # The bucket was asked twice, and then the other source.
    assert receipt.source.startswith("https://mast.stsci.edu/")
    assert receipt.attempts == 3


def test_a_byte_that_changes_on_every_way_is_an_error_that_names_the_hdu(box, k2_62, access, store):
    box.set_faults([{"match": {}, "corrupt": 50_000}])
    with pytest.raises(StructureError, match=r"HDU 1 \(LIGHTCURVE\): its "):
        fetch_asset(k2_62, store, access)
    assert not store.path(k2_62).exists()


def test_a_killed_run_leaves_nothing_but_whole_files_and_the_next_one_goes_on(plan, tmp_path):
    path = write(tmp_path / "a.fits")
    made, store = plan({f"f{number}.fits": path for number in range(6)})
    out = tmp_path / "out"
    program = "from skystage import cli; cli.main()"
    command = [sys.executable, "-c", program, *derive(made, store, tmp_path), "--no-picture"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while not (out / "mast" / "Kepler" / "f2" / "f2.parquet").exists() and running.poll() is None:
            time.sleep(0.001)
        running.kill()
    found = extract_all(made, store, out, BARE)
    assert len(found.made) == 6
    assert [one.already for one in found.made[:2]] == [True, True]
    assert {path.suffix for path in files(out)} == {".parquet", ".json"}
    assert len(files(out)) == 12
    assert not list((out / ".skystage").glob("*.work"))
