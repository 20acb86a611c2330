"""MAST's built-in rows: a proposal of Hubble, Webb, the neighbours of K2-62, and what goes wrong elsewhere.

The rows of proposal 7291, and the names, sizes and addresses of six of its products, are public facts, and so
are the names of the stars around K2-62 and where their light curves lie. All other products of these are made
up and say so in their descriptions; so are positions, but of the stars that have `_KNOWN` ones. The
observations of the proposal `ODDITIES`, and of 99002, exist nowhere else.
"""

from __future__ import annotations

import gzip
import math
from datetime import UTC, datetime
from typing import Any

from skystage.sandbox import fits, lightcurves, stis
from skystage.sandbox.files import Content, Made, Segments
from skystage.sandbox.lightcurves import Planet, Series
from skystage.sandbox.mast_holdings import File, Holdings, Row

ODDITIES = "99001"
MADE = "(generated for the sandbox)"
MRP = "Minimum Recommended Products"

_TARGET = {
    "obs_collection": "HST",
    "target_name": "TON1480",
    "s_ra": 183.7882083333,
    "s_dec": 33.16516666667,
    "target_classification": "GALAXY",
    "obs_title": "Cooled Gas in X-Ray Emitting Elliptical Galaxies",
    "proposal_pi": "Bregman, Joel N.",
    "proposal_id": "7291",
    "proposal_type": "GO",
    "project": "HST",
    "provenance_name": "CALSTIS",
    "dataRights": "PUBLIC",
    "mtFlag": False,
    "intentType": "science",
}
_SLIT = (
    "POLYGON 183.79519926 33.16953302 183.78125026 33.16059724 183.78122982 33.16061959 "
    "183.79517882 33.16955537 183.79519926 33.16953302"
)
_FIELD = (
    "POLYGON 183.79705483 33.16183874 183.78950215 33.15707092 183.77936635 33.16832094 "
    "183.78691941 33.17308937 183.79705483 33.16183874"
)
_SPECTRA = (
    ("o58701010", 51190.01461732639, 51190.0397909375, 2175.0, 51555.03978005, "24919901", "153504018"),
    ("o58701030", 51190.13977920139, 51190.17388799768, 2947.0, 51555.1738773, "24919903", "153503852"),
    ("o58701020", 51190.07262658565, 51190.106735416666, 2947.0, 51555.10672453, "24919902", "153503579"),
)
_IMAGES = (
    ("o58701byq", 51190.00671253472, 51190.00872850695, 1.5, 51555.00872681, _FIELD, "24454469", "121753849"),
    ("o58701bzq", 51190.01169290509, 51190.011701006944, 0.7, 51555.0116898, _SLIT, "24454470", "124583200"),
)
_LEVEL_2 = {"x1d": 77_760, "x2d": 14_474_880, "flt": 10_535_040}
"""Bytes of the products that are known."""
_SPECTRUM_FILES = (
    ("asn", "AUXILIARY", 1, 11_520),
    ("jif", "AUXILIARY", 1, 8_640),
    ("jit", "AUXILIARY", 1, 60_480),
    ("spt", "AUXILIARY", 1, 69_120),
    ("wav", "AUXILIARY", 1, 115_200),
    ("wsp", "AUXILIARY", 1, 69_120),
    ("pdq", "AUXILIARY", 1, 8_640),
    ("trl", "AUXILIARY", 1, 14_400),
    ("raw", "SCIENCE", 1, 120_960),
    ("raw.png", "PREVIEW", 1, None),
    ("x1d", "SCIENCE", 2, _LEVEL_2["x1d"]),
    ("x1d_thumb.png", "PREVIEW", 1, None),
    ("x2d", "SCIENCE", 2, _LEVEL_2["x2d"]),
    ("flt", "SCIENCE", 2, _LEVEL_2["flt"]),
    ("x1d.png", "PREVIEW", 2, None),
)
_IMAGE_FILES = (
    ("spt", "AUXILIARY", 1, 69_120),
    ("jif", "AUXILIARY", 1, 8_640),
    ("raw", "SCIENCE", 1, 120_960),
)
_NEIGHBOURS = (
    *(206089508, 206092110, 206092615, 206093036, 206093540, 206094039, 206094098, 206094342),
    *(206094605, 206095133, 206096022, 206096602, 206096692, 206097453, 206098619, 206098990),
    *(206099456, 206099582, 206099965, 206100060, 206102898, 206103033, 212235329),
)
_K2_62 = 206096602
_CENTRE = (333.6, -12.2)
"""Where K2-62 is here, degrees."""
_PLANETS = {
    _K2_62: (Planet(6.67202, 2145.6, 8e-4), Planet(16.1966, 2151.4, 8e-4)),
    10666592: (Planet(2.204735, 121.36, 6.7e-3, 0.16),),
    11904151: (Planet(0.837491, 131.57, 1.5e-4, 0.075),),
    25155310: (Planet(3.288788, 1327.52, 7e-3, 0.14),),
    261136679: (Planet(6.268, 1325.50, 3e-4, 0.12),),
}
"""Periods of known planets; depths, durations and epochs are about right at most."""
_KNOWN = {
    10666592: (292.24728, 47.969519),
    11904151: (285.67942, 50.24131),
    25155310: (63.37389, -69.226789),
    261136679: (84.291188, -80.469119),
}
_QUARTERS = ("2009131105131", "2009166043257", "2009259160929")
"""When the files of Kepler's first quarters end, as their names say it."""
_MODIFIED = datetime(2022, 3, 1, tzinfo=UTC)


def observations() -> Holdings:
    """All rows that are built in, with their products and files."""
    holdings = Holdings()
    _hst(holdings)
    _k2(holdings)
    _kepler(holdings)
    _tess(holdings)
    _webb(holdings)
    _oddities(holdings)
    return holdings


def complete(row: Row, holdings: Holdings) -> Row:
    """A row with all columns, in their order."""
    return {name: row.get(name) for name in holdings.observation_fields}


def product(observation: Row, name: str, **columns: Any) -> Row:
    """The row of a product, with what an observation says of all of its own."""
    given: dict[str, Any] = {
        "obsID": observation["obsid"],
        "obs_collection": observation["obs_collection"],
        "dataproduct_type": observation["dataproduct_type"],
        "obs_id": observation["obs_id"],
        "description": None,
        "type": "S",
        "dataURI": f"mast:{observation['obs_collection']}/product/{name}",
        "productType": "SCIENCE",
        "productGroupDescription": None,
        "productSubGroupDescription": None,
        "productDocumentationURL": None,
        "project": observation["provenance_name"],
        "prvversion": None,
        "proposal_id": observation["proposal_id"],
        "productFilename": name,
        "size": None,
        "parent_obsid": observation["obsid"],
        "dataRights": observation["dataRights"],
        "calib_level": observation["calib_level"],
    }
    return given | columns


def hubble_path(name: str, obs_id: str) -> str:
    """Where the cloud has a file of Hubble's."""
    return f"/hst/public/{obs_id[:4].lower()}/{obs_id.lower()}/{name}"


def _hst(holdings: Holdings) -> None:
    """Proposal 7291, in the order in which MAST gives it."""
    rows: list[Row] = []
    for obs_id, start, stop, seconds, release, obsid, object_id in _SPECTRA:
        rows.append(
            {
                **_TARGET,
                "dataproduct_type": "spectrum",
                "calib_level": 3,
                "obs_id": obs_id,
                "obsid": obsid,
                "t_min": start,
                "t_max": stop,
                "t_exptime": seconds,
                "t_obs_release": release,
                "wavelength_region": "UV",
                "filters": "G140L",
                "em_min": 115.0,
                "em_max": 173.0,
                "instrument_name": "STIS/FUV-MAMA",
                "s_region": _SLIT,
                "objID": object_id,
                "jpegURL": f"mast:HST/product/{obs_id}_x1d.png",
                "dataURL": f"mast:HST/product/{obs_id}_flt.fits",
            }
        )
    for obs_id, start, stop, seconds, release, region, obsid, object_id in _IMAGES:
        rows.append(
            {
                **_TARGET,
                "dataproduct_type": "image",
                "calib_level": 1,
                "obs_id": obs_id,
                "obsid": obsid,
                "t_min": start,
                "t_max": stop,
                "t_exptime": seconds,
                "t_obs_release": release,
                "wavelength_region": "Optical",
                "filters": "MIRVIS",
                "instrument_name": "STIS/CCD",
                "s_region": region,
                "objID": object_id,
                "dataURL": f"mast:HST/product/{obs_id}_raw.fits",
            }
        )
    for number in (0, 1, 3, 2, 4):
        row = complete(rows[number], holdings)
        holdings.add(row)
        _hubble_products(holdings, row)
    place = ("SIMBAD", 183.7882083333, 33.16516666667)
    holdings.positions.update({"ton 1480": [place], "ton1480": [place]})


def _hubble_products(holdings: Holdings, row: Row) -> None:
    spectrum = row["dataproduct_type"] == "spectrum"
    for suffix, kind, level, size in _SPECTRUM_FILES if spectrum else _IMAGE_FILES:
        stem, dot, end = suffix.partition(".")
        name = f"{row['obs_id']}_{stem}.{end or 'fits'}"
        known = suffix in _LEVEL_2 and row["obs_id"] != "o58701020"
        columns = {
            "description": f"DADS {stem.upper()} file" if known else f"{stem.upper()} file {MADE}",
            "productType": kind,
            "productGroupDescription": MRP if suffix in _LEVEL_2 or kind == "PREVIEW" else None,
            "productSubGroupDescription": stem.upper() if not dot else None,
            "size": size,
            "calib_level": level,
        }
        content = stis.picture(name) if size is None else stis.content(name, size, row)
        holdings.add_product(product(row, name, **columns), File(content, hubble_path(name, row["obs_id"])))


def _k2(holdings: Holdings) -> None:
    """K2-62 and the stars of campaign 3 around it: 23 within 0.2 degrees, and two beyond."""
    stars = [(number, _place(turn)) for turn, number in enumerate(_NEIGHBOURS)]
    stars += [(206050000, (334.4, -12.6)), (206150000, (332.9, -11.8))]
    series = lightcurves.k2(3)
    for turn, (number, place) in enumerate(stars):
        obs_id, stem = f"ktwo{number}-c03_lc", f"ktwo{number}-c03"
        row = _star_row("K2", obs_id, f"ktwo{number}", place, obsid=f"6000{turn:04d}", series=series)
        row |= {"t_exptime": 1800.0, "filters": "KEPLER", "sequence_number": 3, "calib_level": 2}
        row |= {"em_min": 418.9, "em_max": 905.0}
        holdings.add(complete(row, holdings))
        folder = f"c3/{str(number)[:4]}00000/{str(number)[4:6]}000"
        tables = (
            ("LLC", "Lightcurve Long Cadence (KLC) - C03", "lightcurves", f"{stem}_llc.fits", 2),
            (
                "LPD-TARG",
                f"Target Pixel Long Cadence (KTL) - C03 {MADE}",
                "target_pixel_files",
                f"{stem}_lpd-targ.fits.gz",
                1,
            ),
        )
        for group, text, shelf, name, level in tables:
            columns = {
                "description": text,
                "dataURI": f"mast:K2/url/missions/k2/{shelf}/{folder}/{name}",
                "productGroupDescription": MRP,
                "productSubGroupDescription": group,
                "calib_level": level,
            }
            made = (
                lightcurves.content(name, ("EPIC", number), place, series, _PLANETS.get(number, ()))
                if group == "LLC"
                else _pixels(name, number)
            )
            holdings.add_product(
                product(row, name, **columns), File(made, f"/k2/public/{shelf}/{folder}/{name}")
            )
        holdings.positions[f"epic {number}"] = [("K2", *place)]
    holdings.positions["k2-62"] = [("SIMBAD", *_CENTRE)]
    _k2_by_others(holdings)


def _k2_by_others(holdings: Holdings) -> None:
    """The same star as somebody else has measured it: another collection at the same place."""
    series = lightcurves.k2(3)
    name = f"hlsp_k2sff_k2_lightcurve_{_K2_62}-c03_kepler_v1_llc.fits"
    row = _star_row(
        "HLSP", name.removesuffix("_llc.fits"), str(_K2_62), _CENTRE, obsid="61000000", series=series
    )
    row |= {"t_exptime": 1800.0, "filters": "KEPLER", "calib_level": 4, "provenance_name": "K2SFF"}
    row |= {"project": "K2", "em_min": 418.9, "em_max": 905.0}
    holdings.add(complete(row, holdings))
    content = lightcurves.content(name, ("EPIC", _K2_62), _CENTRE, series, _PLANETS[_K2_62])
    columns = {
        "description": f"FITS data file {MADE}",
        "dataURI": f"mast:HLSP/k2sff/c03/206000000/96602/{name}",
        "productSubGroupDescription": "LLC",
        "calib_level": 4,
    }
    path = f"/hlsp_local/public/hlsp/k2sff/c03/206000000/96602/{name}"
    holdings.add_product(product(row, name, **columns), File(content, path))


def _place(turn: int) -> tuple[float, float]:
    """Around K2-62, which is the twelfth, southern ones first as in the EPIC; degrees."""
    south = (turn - 11) * 0.015
    reach = math.sqrt(0.18**2 - south**2) if turn != 11 else 0.0
    east = reach * math.sin(2.4 * turn) / math.cos(math.radians(_CENTRE[1]))
    return round(_CENTRE[0] + east, 6), round(_CENTRE[1] + south, 6)


def _kepler(holdings: Holdings) -> None:
    """Two stars with a planet each, three quarters of both."""
    for turn, number in enumerate((10666592, 11904151)):
        place, kic = _KNOWN[number], f"{number:09d}"
        row = _star_row(
            "Kepler",
            f"kplr{kic}_lc_Q111",
            f"kplr{kic}",
            place,
            obsid=f"6020{turn:04d}",
            series=lightcurves.kepler(2),
        )
        row |= {"t_exptime": 1800.0, "filters": "KEPLER", "em_min": 418.9, "em_max": 905.0, "calib_level": 2}
        row["t_min"] = lightcurves.kepler(0).start + 54832.5
        holdings.add(complete(row, holdings))
        for quarter, stamp in enumerate(_QUARTERS):
            name, folder = f"kplr{kic}-{stamp}_llc.fits", f"lightcurves/{kic[:4]}/{kic}"
            columns = {
                "description": f"Lightcurve Long Cadence (CLC) - Q{quarter} {MADE}",
                "dataURI": f"mast:Kepler/url/missions/kepler/{folder}/{name}",
                "productGroupDescription": MRP,
                "productSubGroupDescription": "LLC",
            }
            series = lightcurves.kepler(quarter)
            content = lightcurves.content(name, ("KIC", number), place, series, _PLANETS[number])
            holdings.add_product(
                product(row, name, **columns), File(content, f"/kepler/public/{folder}/{name}")
            )
        holdings.positions[f"kic {number}"] = [("KEPLER", *place)]
    holdings.positions["hat-p-7"] = [("SIMBAD", *_KNOWN[10666592])]
    holdings.positions["kepler-10"] = [("SIMBAD", *_KNOWN[11904151])]


def _tess(holdings: Holdings) -> None:
    """Two stars of sector 1."""
    series = lightcurves.tess(1)
    for turn, number in enumerate((25155310, 261136679)):
        place, tic = _KNOWN[number], f"{number:016d}"
        obs_id = f"tess2018206045859-s0001-{tic}-0120-s"
        row = _star_row("TESS", obs_id, str(number), place, obsid=f"6030{turn:04d}", series=series)
        row |= {"t_exptime": 120.0, "filters": "TESS", "em_min": 600.0, "em_max": 1000.0, "calib_level": 3}
        row |= {"provenance_name": "SPOC", "sequence_number": 1, "instrument_name": "Photometer"}
        holdings.add(complete(row, holdings))
        name = f"{obs_id}_lc.fits"
        folder = "/".join(tic[at : at + 4] for at in range(0, 16, 4))
        columns = {
            "description": f"Light curves {MADE}",
            "dataURI": f"mast:TESS/product/{name}",
            "productGroupDescription": MRP,
            "productSubGroupDescription": "LC",
        }
        content = lightcurves.content(name, ("TIC", number), place, series, _PLANETS[number])
        path = f"/tess/public/tid/s0001/{folder}/{name}"
        holdings.add_product(product(row, name, **columns), File(content, path))
        holdings.positions[f"tic {number}"] = [("TIC", *place)]
    holdings.positions["wasp-126"] = [("SIMBAD", *_KNOWN[25155310])]
    holdings.positions["pi men"] = [("SIMBAD", *_KNOWN[261136679])]


def _webb(holdings: Holdings) -> None:
    """A mosaic of the Carina Nebula, and one that its proposers keep for themselves yet."""
    known = {
        "obs_collection": "JWST",
        "dataproduct_type": "image",
        "calib_level": 3,
        "wavelength_region": "Infrared",
        "filters": "F444W",
        "em_min": 3880.0,
        "em_max": 4986.0,
        "instrument_name": "NIRCAM/IMAGE",
        "project": "JWST",
        "provenance_name": "CALJWST",
        "mtFlag": False,
        "intentType": "science",
        "target_name": "NGC 3324",
        "s_ra": 159.2154,
        "s_dec": -58.6199,
        "s_region": "CIRCLE ICRS 159.2154 -58.6199 0.05",
    }
    carina = {
        "obs_id": "jw02731-o001_t017_nircam_clear-f444w",
        "obsid": "81000001",
        "objID": "181000001",
        "proposal_id": "2731",
        "proposal_pi": "Pontoppidan, Klaus M.",
        "dataRights": "PUBLIC",
        "t_min": 59733.1,
        "t_max": 59733.3,
        "t_exptime": 1739.4,
        "t_obs_release": 59773.6,
    }
    kept = {
        "obs_id": "jw99002-o001_t001_nircam_clear-f444w",
        "obsid": "81000002",
        "objID": "181000002",
        "proposal_id": "99002",
        "proposal_pi": "Nobody, Nemo",
        "dataRights": "EXCLUSIVE_ACCESS",
        "t_min": 60700.1,
        "t_max": 60700.2,
        "t_exptime": 1000.0,
        "t_obs_release": 90000.0,
    }
    for own in (carina, kept):
        row = complete({**known, **own}, holdings)
        holdings.add(row)
        name = f"{row['obs_id']}_i2d.fits"
        columns = {
            "description": f"Rectified 2D image {MADE}",
            "productGroupDescription": MRP,
            "productSubGroupDescription": "I2D",
            "size": 288_000,
        }
        public = row["dataRights"] == "PUBLIC"
        path = f"/jwst/public/{name[:7]}/{row['obs_id']}/{name}" if public else None
        file = File(stis.content(name, 288_000, row), path, exclusive=not public)
        holdings.add_product(product(row, name, **columns), file)


def _star_row(
    collection: str, obs_id: str, name: str, place: tuple[float, float], *, obsid: str, series: Series
) -> Row:
    # Modified Julian days: 0 is the Julian day 2400000.5.
    start = series.reference - 2_400_000.5
    return {
        "dataproduct_type": "timeseries",
        "obs_collection": collection,
        "obs_id": obs_id,
        "target_name": name,
        "s_ra": place[0],
        "s_dec": place[1],
        "t_min": round(start + series.start, 6),
        "t_max": round(start + series.stop, 6),
        "wavelength_region": "Optical",
        "t_obs_release": round(start + series.stop + 90, 6),
        "instrument_name": "Kepler",
        "proposal_id": None,
        "project": collection,
        "provenance_name": collection,
        "s_region": f"CIRCLE {place[0]} {place[1]} 0.00138889",
        "dataRights": "PUBLIC",
        "mtFlag": False,
        "intentType": "science",
        "obsid": obsid,
        "objID": f"1{obsid}",
    }


def _pixels(name: str, seed: int) -> Content:
    def make() -> bytes:
        cards: fits.Cards = {"TELESCOP": "Kepler", "ORIGIN": "skystage sandbox", "KEPLERID": seed}
        whole = Segments(name, "", _MODIFIED, None, lambda: fits.of_size(5 * fits.BLOCK, cards, seed))
        return gzip.compress(whole.read(0, whole.size), mtime=0)

    return Made(name, "application/gzip", _MODIFIED, make)


def _oddities(holdings: Holdings) -> None:
    """A proposal in which everything goes wrong that can."""
    rows = [_odd_row(number) for number in (1, 2, 3)]
    first, second, third = rows
    third |= {"dataRights": "EXCLUSIVE_ACCESS", "t_obs_release": 90000.0}
    for row in rows:
        holdings.add(complete(row, holdings))
    shared = "sbx001_shared.fits"
    for row, names in (
        (first, ("flt", "wrongsize", "gone", "lost", "onprem", "nolength")),
        (second, ("flt",)),
        (third, ("flt", "raw")),
    ):
        for suffix in names:
            name = f"{row['obs_id']}_{suffix}.fits"
            size = 57_600
            file = File(stis.content(name, size, row), hubble_path(name, row["obs_id"]))
            match suffix:
                case "wrongsize":
                    size += 2880  # the row says more than there is
                case "gone":
                    file.content = None
                case "lost":
                    file.stored = False
                case "onprem":
                    file.path = None
                case "nolength":
                    file.measured = False
            if row is third:
                file.path, file.exclusive = None, True
            _odd_product(holdings, row, name, size, file)
    for row in (first, second):
        file = File(stis.content(shared, 28_800, first), hubble_path(shared, first["obs_id"]))
        owner = {"obs_id": first["obs_id"], "parent_obsid": first["obsid"]}
        _odd_product(holdings, row, shared, 28_800, file, **owner)


def _odd_row(number: int) -> Row:
    return {
        **_TARGET,
        "dataproduct_type": "image",
        "calib_level": 2,
        "obs_id": f"sbx0010{number}0",
        "obsid": f"6900000{number}",
        "target_name": "NOWHERE",
        "s_ra": 10.0 + number,
        "s_dec": -75.0,
        "target_classification": "STAR;ODDITY",
        "t_min": 60000.0 + number,
        "t_max": 60000.1 + number,
        "t_exptime": 100.0,
        "t_obs_release": 60010.0,
        "wavelength_region": "Optical;UV",
        "filters": "F555W;F814W",
        "em_min": 500.0,
        "em_max": 900.0,
        "instrument_name": "STIS/CCD",
        "proposal_id": ODDITIES,
        "proposal_pi": "Nobody, Nemo",
        "obs_title": "What goes wrong",
        "s_region": f"CIRCLE ICRS {10.0 + number} -75.0 0.01",
        "objID": f"16900000{number}",
    }


def _odd_product(holdings: Holdings, row: Row, name: str, size: int, file: File, **columns: Any) -> None:
    suffix = name.removesuffix(".fits").rpartition("_")[2]
    given = {
        "description": f"{suffix} {MADE}",
        "productSubGroupDescription": suffix.upper(),
        "productGroupDescription": MRP if suffix == "flt" else None,
        "size": size,
    }
    holdings.add_product(product(row, name, **(given | columns)), file)
