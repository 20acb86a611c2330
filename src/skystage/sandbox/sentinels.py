"""The built-in products of Sentinel-3 and -5P, and some that were deleted: records in the form of OData.

Names follow the missions' conventions; orbits and footprints are about where the satellites were.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_WEST_EUROPE = [(-2.0, 44.0), (14.0, 41.5), (18.5, 51.5), (-1.0, 54.5), (-2.0, 44.0)]
_SWATH = [(-16.0, 30.0), (20.0, 24.0), (38.0, 56.0), (-22.0, 64.0), (-16.0, 30.0)]
_FOREVER = "9999-12-31T23:59:59.999999Z"


def records() -> Iterator[Mapping[str, Any]]:
    """All that are there."""
    for day, orbit in ((5, 11968), (6, 11982)):
        start = datetime(2018, 6, day, 10, 15, 21, 640000, tzinfo=UTC) - timedelta(minutes=26 * (day - 5))
        relative = (orbit - 11968 + 65) % 385
        for kind, level in (("OL_1_EFR___", "1"), ("SL_2_LST___", "2")):
            yield _sentinel_3(kind, level, start, orbit, relative)
    for day, orbit in ((5, 3337), (6, 3351)):
        for kind in ("L2__NO2___", "L2__CO____"):
            yield _sentinel_5p(kind, datetime(2018, 6, day, 11, 22, 33, tzinfo=UTC), orbit)


def deleted() -> Iterator[Mapping[str, Any]]:
    """Some that are there no more, and why."""
    for name, orbit, cause in (
        (
            "S2A_MSIL2A_20180610T105031_N0208_R051_T31UFS_20180610T140708",
            15492,
            "Duplicated product",
        ),
        ("S2B_MSIL1C_20180615T105029_N0206_R051_T31UFS_20180615T125421", 6655, "Corrupted product"),
    ):
        sensed = datetime.strptime(name[11:26], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        product_type = f"S2MSI{name[8:10]}"
        ring = [(4.44, 51.44), (6.02, 51.41), (5.86, 50.43), (4.41, 50.46), (4.44, 51.44)]
        record = _record(
            f"{name}.SAFE",
            (sensed, sensed),
            f"/eodata/Sentinel-2/MSI/{name[7:10]}/{sensed:%Y/%m/%d}/{name}.SAFE",
            ring,
            {
                "productType": product_type,
                "tileId": "31UFS",
                "orbitNumber": orbit,
                "relativeOrbitNumber": int(name[34:37]),
                "platformShortName": "SENTINEL-2",
                "platformSerialIdentifier": name[2],
                "instrumentShortName": "MSI",
            },
        )
        kept = {"Id", "Name", "ContentLength", "OriginDate", "S3Path", "ContentDate", "GeoFootprint"}
        yield {
            **{key: value for key, value in record.items() if key in kept or key == "Attributes"},
            "DeletionDate": "2023-04-26T09:12:44.120000Z",
            "DeletionCause": cause,
        }


def _sentinel_3(kind: str, level: str, start: datetime, orbit: int, relative: int) -> Mapping[str, Any]:
    stop, made = start + timedelta(minutes=3), start + timedelta(days=1, hours=4)
    stamps = "_".join(f"{moment:%Y%m%dT%H%M%S}" for moment in (start, stop, made))
    cycle = 32 + (orbit - 11968) // 385
    facility = "LN1" if level == "1" else "LN2"
    name = f"S3A_{kind}_{stamps}_0179_{cycle:03d}_{relative:03d}_2160_{facility}_O_NT_002.SEN3"
    instrument = {"OL": "OLCI", "SL": "SLSTR"}[kind[:2]]
    return _record(
        name,
        (start, stop),
        f"/eodata/Sentinel-3/{instrument}/{kind}/{start:%Y/%m/%d}/{name}",
        _WEST_EUROPE,
        {
            "productType": kind,
            "timeliness": "NT",
            "cycleNumber": cycle,
            "orbitNumber": orbit,
            "relativeOrbitNumber": relative,
            "orbitDirection": "DESCENDING",
            "processingLevel": level,
            "platformShortName": "SENTINEL-3",
            "platformSerialIdentifier": "A",
            "instrumentShortName": instrument,
        },
    )


def _sentinel_5p(kind: str, start: datetime, orbit: int) -> Mapping[str, Any]:
    stop, made = start + timedelta(minutes=101, seconds=30), start + timedelta(days=5, hours=18)
    stamps = f"{start:%Y%m%dT%H%M%S}_{stop:%Y%m%dT%H%M%S}"
    name = f"S5P_OFFL_{kind}_{stamps}_{orbit:05d}_01_010002_{made:%Y%m%dT%H%M%S}.nc"
    return _record(
        name,
        (start, stop),
        f"/eodata/Sentinel-5P/TROPOMI/{kind}/{start:%Y/%m/%d}/{name.removesuffix('.nc')}",
        _SWATH,
        {
            "productType": kind,
            "timeliness": "Offline",
            "orbitNumber": orbit,
            "processingMode": "OFFL",
            "processingLevel": "L2",
            "processorVersion": "010002",
            "platformShortName": "SENTINEL-5P",
            "instrumentShortName": "TROPOMI",
        },
    )


def _record(
    name: str,
    sensed: tuple[datetime, datetime],
    s3_path: str,
    ring: list[tuple[float, float]],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    start, stop = (f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z" for moment in sensed)
    published = f"{sensed[1] + timedelta(days=6):%Y-%m-%dT%H:%M:%S.%f}Z"
    kinds = {str: "String", int: "Integer"}
    values = [("String", "origin", "ESA")]
    values += [(kinds[type(value)], key, value) for key, value in about.items()]
    values += [("DateTimeOffset", "beginningDateTime", start), ("DateTimeOffset", "endingDateTime", stop)]
    return {
        "Id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://dataspace.copernicus.eu/{name}")),
        "Name": name,
        # Any number but 0: the stand-in's own is served.
        "ContentLength": 1,
        **dict.fromkeys(("OriginDate", "PublicationDate", "ModificationDate"), published),
        "Online": True,
        "EvictionDate": _FOREVER,
        "S3Path": s3_path,
        "ContentDate": {"Start": start, "End": stop},
        "GeoFootprint": {"type": "Polygon", "coordinates": [ring]},
        "Attributes": [{"Name": key, "Value": value, "ValueType": kind} for kind, key, value in values],
        "Assets": [],
    }
