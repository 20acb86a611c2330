"""Other products of the built-in catalogue: bursts, OPERA's backscatter, ALOS PALSAR, NISAR.

All lie over the Utah scenes of `skystage.sandbox.builtin`. Forms of names and records follow the public
descriptions of the products; numbers that belong to no real acquisition are made up. They differ where
archive clients go wrong: sizes as text or for each file, no checksum, several values of an attribute,
looking left, off-nadir angles, baselines that were computed before.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from skystage.sandbox.ephemeris import ORBITS, PERIOD, SATELLITES, corners

Record = dict[str, Any]
Ring = Sequence[tuple[float, float]]
Attributes = dict[str, str | list[str]]

_BEAM, _PREAMBLE = 2.758273, 2.299849
"""Seconds from burst to burst, and before the first one (ESA, Sentinel-1 burst id map, IW)."""
_BURSTS = 375_887
"""Burst cycles in the 12 days of a repeat."""
_BURST_SECONDS = 2342.0
"""From the ascending node to the burst over the middle of the Utah scenes."""
_UTAH = (-112.9, 37.9)


@dataclass(frozen=True, slots=True)
class Pass:
    """What a burst takes over from the SLC that it is cut from."""

    scene: str
    mission: str
    orbit: int
    group: str
    vectors: Mapping[str, str]


def records(passes: Iterable[Pass]) -> Iterator[Record]:
    """The records of all other products; bursts and OPERA products for these passes."""
    number = 2_000_000
    for make in (_bursts(passes), _opera(passes), _alos(), _nisar()):
        for record in make:
            number += 10
            record["meta"]["concept-id"] = f"G{number}-ASF"
            yield record


def _bursts(passes: Iterable[Pass]) -> Iterator[Record]:
    for number, one in enumerate(passes):
        for channel in ("VV", "VH") if number == 0 else ("VV",):
            yield _burst(one, channel)


def _burst(one: Pass, channel: str) -> Record:
    track, burst, start, ring = _place(one)
    name = f"S1_{burst:06d}_IW2_{start:%Y%m%dT%H%M%S}_{channel}_{one.scene[-4:]}-BURST"
    service = f"https://sentinel1-burst.asf.alaska.edu/{one.scene}/IW2/{channel}/4"
    satellite = SATELLITES[one.mission]
    cycle = (one.orbit - satellite.orbit) // ORBITS + 100
    attributes = {
        "ASC_NODE_TIME": _time(satellite.node_of(one.orbit)),
        "ASCENDING_DESCENDING": "DESCENDING",
        "AZIMUTH_ANX_TIME": str(_BURST_SECONDS),
        "AZIMUTH_TIME": _time(start),
        "BEAM_MODE": "IW",
        "BURST_ID_ABSOLUTE": str(burst + cycle * _BURSTS),
        "BURST_ID_FULL": f"{track:03d}_{burst:06d}_IW2",
        "BURST_ID_RELATIVE": str(burst),
        "BURST_INDEX": "4",
        "BYTE_LENGTH": "0",
        **_center(ring),
        "GROUP_ID": one.group,
        "LINES_PER_BURST": "1512",
        "PATH_NUMBER": str(track),
        "POLARIZATION": channel,
        "PROCESSING_LEVEL": "L1",
        "PROCESSING_TYPE": "BURST",
        "SAMPLES_PER_BURST": "25451",
        "SUBSWATH_NAME": "IW2",
        **one.vectors,
    }
    return _record(
        name,
        collection="SENTINEL-1_BURSTS",
        platform=f"SENTINEL-1{one.mission[2]}",
        instrument="C-SAR",
        start=start,
        seconds=_BEAM,
        orbit=one.orbit,
        ring=ring,
        attributes=attributes,
        links=[(f"{service}.{ending}", "USE SERVICE API") for ending in ("tiff", "xml")],
        scene=None,
        files=(),
    )


def _opera(passes: Iterable[Pass]) -> Iterator[Record]:
    """Backscatter of the first pass: an image a channel, a mask, an HDF5 file, metadata."""
    one = next(iter(passes))
    track, burst, start, ring = _place(one)
    where = f"T{track:03d}-{burst:06d}-IW2"
    name = f"OPERA_L2_RTC-S1_{where}_{start:%Y%m%dT%H%M%SZ}_20220501T104541Z_{one.mission}_30_v1.0"
    images = [f"{name}_{kind}.tif" for kind in ("VH", "VV", "mask")]
    attributes: Attributes = {
        "ASCENDING_DESCENDING": "DESCENDING",
        "ASF_PLATFORM": f"Sentinel-1{one.mission[2]}",
        "BEAM_MODE": "IW",
        "GROUP_ID": one.group,
        "OPERA_BURST_ID": where.replace("-", "_"),
        "PATH_NUMBER": str(track),
        "POLARIZATION": ["VV", "VH"],
        "PROCESSING_TYPE": "RTC",
        "PRODUCT_VERSION": "1.0",
        "SUBSWATH_NAME": "IW2",
    }
    folder = "https://datapool.asf.alaska.edu/RTC/OPERA-S1"
    yield _record(
        name,
        collection="OPERA_L2_RTC-S1_V1",
        platform=f"SENTINEL-1{one.mission[2]}",
        instrument="C-SAR",
        start=start,
        seconds=_BEAM,
        orbit=one.orbit,
        ring=ring,
        attributes=attributes,
        links=[
            *((f"{folder}/{file}", "GET DATA") for file in (*images, f"{name}.h5")),
            (f"{folder}/{name}.iso.xml", "EXTENDED METADATA"),
            (f"{folder}/{name}.h5.md5", "EXTENDED METADATA"),
        ],
        files=[*images, f"{name}.h5", f"{name}.iso.xml"],
    )


def _alos() -> Iterator[Record]:
    """Path 213, frame 750: a stack of three with baselines, a polarimetric one, and a raw product."""
    yield _palsar(10165, "FBS", "HH", "34.3", baseline="0")
    yield _palsar(10836, "FBD", "HH+HV", "34.3", baseline="-412.5")
    yield _palsar(11507, "FBS", "HH", "34.3", baseline="863.2")
    yield _palsar(17546, "PLR", "quadrature", "21.5", baseline=None)
    yield _palsar(10165, "FBS", "HH", "34.3", baseline="0", level="L1.0")


def _palsar(
    orbit: int, mode: str, channels: str, angle: str, *, baseline: str | None, level: str = "L1.1"
) -> Record:
    # 671 orbits in 46 days since 24 January 2006; the frame is the latitude in twentieths of a degree.
    period = 46 * 86400 / 671
    start = datetime(2006, 1, 24, 1, 33, tzinfo=UTC) + timedelta(seconds=round((orbit + 37.5 / 360) * period))
    scene = f"ALPSRP{orbit:05d}0750"
    ring = _box(*_UTAH, 0.35, 0.3)
    attributes = {
        "ASCENDING_DESCENDING": "ASCENDING",
        "ASF_PLATFORM": "ALOS",
        "BEAM_MODE": mode,
        "BEAM_MODE_TYPE": mode,
        "BYTES": "0",
        **_center(ring),
        "DOPPLER": f"{zlib.crc32(scene.encode()) % 100}.5",
        "FARADAY_ROTATION": f"0.{orbit % 10}",
        "FRAME_NUMBER": "750",
        "GRANULE_TYPE": "ALOS_PALSAR_SCENE",
        "LOOK_DIRECTION": "R",
        "MD5SUM": "",
        "OFF_NADIR_ANGLE": angle,
        "PATH_NUMBER": "213",
        "POLARIZATION": channels,
        "PROCESSING_DATE": _time(start + timedelta(days=30)),
        "PROCESSING_TYPE": level,
    }
    if baseline is not None:
        attributes |= {"INSAR_BASELINE": baseline, "INSAR_STACK_ID": "213750", "INSAR_STACK_SIZE": "3"}
    return _record(
        f"{scene}-{level}",
        collection=f"ALOS_PSR_{level}",
        platform="ALOS",
        instrument="PALSAR",
        start=start,
        seconds=10,
        orbit=orbit,
        ring=ring,
        attributes=attributes,
        links=[(f"https://datapool.asf.alaska.edu/{level}/A3/{scene}-{level}.zip", "GET DATA")],
        scene=scene,
        files=(),
    )


def _nisar() -> Iterator[Record]:
    """Track 64, frame 19, every 12 days: the last one urgent, in part, and observed with the S band too."""
    for number in range(3):
        last = number == 2
        start = datetime(2025, 11, 3, 1, 18, 22, tzinfo=UTC) + timedelta(days=12 * number)
        stop = start + timedelta(seconds=34)
        pipeline, channels = ("UR", "HH") if last else ("PR", "HH+HV")
        name = (
            f"NISAR_L2_{pipeline}_GSLC_{number + 4:03d}_064_A_019_4005_{'SHNA' if last else 'DHDH'}_A_"
            f"{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}_X05009_N_{'P' if last else 'F'}_J_001"
        )
        attributes: Attributes = {
            "ASCENDING_DESCENDING": "ASCENDING",
            "FRAME_NUMBER": "19",
            "FREQUENCY_A_POLARIZATION": channels.split("+"),
            "FREQUENCY_A_POLARIZATION_CONCAT": channels,
            "FREQUENCY_B_POLARIZATION": ["VV"],
            "FREQUENCY_B_POLARIZATION_CONCAT": "VV",
            "FULL_FRAME": str(not last).upper(),
            "JOINT_OBSERVATION": str(last).upper(),
            "LOOK_DIRECTION": "L",
            "ORBIT_TYPE": "POE",
            "PRODUCTION_PIPELINE": pipeline,
            "PRODUCT_TYPE": "GSLC",
            "RANGE_BANDWIDTH_CONCAT": "40+5",
            "TRACK_NUMBER": "64",
        }
        folder = f"https://nisar.asf.earthdatacloud.nasa.gov/NISAR/NISAR_L2_GSLC_BETA_V1/{name}"
        files = [f"{name}.h5", f"{name}.iso.xml", f"{name}_QA_STATS.h5"]
        yield _record(
            name,
            collection="NISAR_L2_GSLC_BETA_V1",
            platform="NISAR",
            instrument="L-SAR",
            start=start,
            seconds=34,
            orbit=1000 + 173 * number,
            ring=_box(*_UTAH, 1.4, 1.2),
            attributes=attributes,
            links=[
                (f"{folder}/{file}", kind)
                for file, kind in zip(
                    files, ("GET DATA", "EXTENDED METADATA", "EXTENDED METADATA"), strict=True
                )
            ],
            files=files,
        )


# --------------------------------------------------------------------------------------------------
# What they share


def _place(one: Pass) -> tuple[int, int, datetime, Ring]:
    """Relative orbit, relative burst id, start and footprint of the burst of a pass."""
    satellite = SATELLITES[one.mission]
    track = satellite.relative(one.orbit)
    burst = 1 + int((_BURST_SECONDS + _BEAM / 2 + (track - 1) * PERIOD - _PREAMBLE) / _BEAM)
    start = satellite.node_of(one.orbit) + timedelta(seconds=_BURST_SECONDS)
    edges = corners(satellite, start, start + timedelta(seconds=_BEAM))

    def third(end: str, count: int) -> tuple[float, float]:
        (x, y), (far_x, far_y) = edges[f"NEAR_{end}"], edges[f"FAR_{end}"]
        return round(x + (far_x - x) * count / 3, 6), round(y + (far_y - y) * count / 3, 6)

    ring = [third("START", 1), third("START", 2), third("END", 2), third("END", 1)]
    return track, burst, start, [*ring, ring[0]]


def _box(longitude: float, latitude: float, wide: float, high: float) -> Ring:
    west, east, south, north = longitude - wide, longitude + wide, latitude - high, latitude + high
    return [(west, south), (east, south), (east, north), (west, north), (west, south)]


def _center(ring: Ring) -> dict[str, str]:
    return {
        "CENTER_LON": f"{sum(x for x, _ in ring[:4]) / 4:.4f}",
        "CENTER_LAT": f"{sum(y for _, y in ring[:4]) / 4:.4f}",
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


_FORMATS = {"tif": "GeoTIFF", "h5": "HDF5", "xml": "XML"}


def _record(
    granule_ur: str,
    *,
    collection: str,
    platform: str,
    instrument: str,
    start: datetime,
    seconds: float,
    orbit: int,
    ring: Ring,
    attributes: Mapping[str, str] | Attributes,
    links: Iterable[tuple[str, str]],
    files: Iterable[str],
    scene: str | None = "",
) -> Record:
    """A record; an empty `scene` is called as the record, and None has no name of its own."""
    revised = f"{start + timedelta(days=2):%Y-%m-%dT%H:%M:%S}.000Z"
    meta = {
        "concept-type": "granule",
        "concept-id": "",
        "revision-id": 1,
        "native-id": granule_ur,
        "collection-concept-id": f"C{zlib.crc32(collection.encode())}-ASF",
        "provider-id": "ASF",
        "format": "application/vnd.nasa.cmr.umm+json",
        "revision-date": revised,
    }
    points = [{"Longitude": longitude, "Latitude": latitude} for longitude, latitude in ring]
    umm: Record = {
        "TemporalExtent": {
            "RangeDateTime": {
                "BeginningDateTime": _time(start),
                "EndingDateTime": _time(start + timedelta(seconds=seconds)),
            }
        },
        "OrbitCalculatedSpatialDomains": [{"OrbitNumber": orbit}],
        "GranuleUR": granule_ur,
        "AdditionalAttributes": [
            {"Name": name, "Values": values if isinstance(values, list) else [values]}
            for name, values in sorted(attributes.items())
        ],
        "SpatialExtent": {
            "HorizontalSpatialDomain": {"Geometry": {"GPolygons": [{"Boundary": {"Points": points}}]}}
        },
        "ProviderDates": [{"Date": revised, "Type": kind} for kind in ("Insert", "Update")],
        "CollectionReference": {"ShortName": collection, "Version": "1"},
        "RelatedUrls": [{"URL": url, "Type": kind} for url, kind in links],
        "Platforms": [{"ShortName": platform, "Instruments": [{"ShortName": instrument}]}],
        "MetadataSpecification": {
            "URL": "https://cdn.earthdata.nasa.gov/umm/granule/v1.6.6",
            "Name": "UMM-G",
            "Version": "1.6.6",
        },
    }
    if scene is not None:
        umm["DataGranule"] = {
            "DayNightFlag": "Unspecified",
            "Identifiers": [{"Identifier": scene or granule_ur, "IdentifierType": "ProducerGranuleId"}],
            "ProductionDateTime": revised,
        }
    if listed := [_listed(name) for name in files]:
        umm["DataGranule"]["ArchiveAndDistributionInformation"] = listed
    return {"meta": meta, "umm": umm}


def _listed(name: str) -> Record:
    return {
        "Name": name,
        "SizeInBytes": 0,
        "Format": _FORMATS[name.rpartition(".")[2]],
        "Checksum": {"Algorithm": "MD5", "Value": ""},
    }
