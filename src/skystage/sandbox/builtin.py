"""The built-in catalogue: some Sentinel-1 scenes with their orbit files, made from public facts.

Names follow ESA's convention, and orbits, times and footprints agree with one another; the
unique identifiers at the end of the names are made up. It has what searches must tell apart:
two satellites, single and dual polarization, other products beside the SLCs, scenes across
the antimeridian, and scenes whose orbit files are late or missing; and some products of other
datasets (`skystage.sandbox.products`) of Sentinel-2 (`skystage.sandbox.optical`), -3 and -5P
(`skystage.sandbox.sentinels`).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from skystage.sandbox import mast_observations, optical, planetary, sentinels
from skystage.sandbox.catalogue import Catalogue
from skystage.sandbox.ephemeris import SATELLITES, corners, state
from skystage.sandbox.mast_holdings import BUCKET
from skystage.sandbox.orbits import make_name
from skystage.sandbox.payloads import PAYLOAD_SIZE
from skystage.sandbox.products import Pass, records

_SCENE_LENGTH = 27.0
_SECONDS_TO_FRAME = 611.5
"""From the ascending node to the start of frame 122."""
_UTAH_SECONDS = 2330.0
_FIJI_SECONDS = 5600.0
_BURST_PASSES = 3
_BEAM = (
    "Interferometric Wide. 250 km swath, 5 m x 20 m spatial resolution and burst synchronization for "
    "interferometry. IW is considered to be the standard mode over land masses."
)


@dataclass(frozen=True, slots=True)
class _Scene:
    mission: str
    orbit: int
    offset: float
    frame: int
    esa_frame: int
    polarization: str
    product: str = "SLC"

    @property
    def start(self) -> datetime:
        """The first line, to the millisecond."""
        # The real satellites start a little earlier or later each time.
        jitter = zlib.crc32(f"{self.mission}{self.orbit}".encode()) % 2000 / 1000
        moment = SATELLITES[self.mission].node_of(self.orbit) + timedelta(seconds=self.offset + jitter)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    @property
    def stop(self) -> datetime:
        """The last line."""
        return self.start + timedelta(seconds=_SCENE_LENGTH)

    @property
    def name(self) -> str:
        """The scene's name by ESA's convention."""
        kind = "SLC_" if self.product == "SLC" else "GRDH"
        channel = "DV" if "+" in self.polarization else "SV"
        take = self.orbit * 8 % 0x1000000
        times = f"{self.start:%Y%m%dT%H%M%S}_{self.stop:%Y%m%dT%H%M%S}"
        stem = f"{self.mission}_IW_{kind}_1S{channel}_{times}_{self.orbit:06d}_{take:06X}"
        return f"{stem}_{zlib.crc32(stem.encode()) % 0x10000:04X}"


def build(payload_size: int = PAYLOAD_SIZE) -> Catalogue:
    """The built-in catalogue; the same every time."""
    catalogue = Catalogue(payload_size)
    scenes = [*_california(), *_utah(), *_fiji()]
    # The newest scene of Utah has no precise orbit yet, the first one of Fiji has none at all.
    utah = [scene for scene in scenes if scene.frame == _UTAH_FRAME and scene.product == "SLC"]
    late, orphan = utah[-1], next(scene for scene in scenes if scene.frame == _FIJI_FRAME)
    for number, scene in enumerate(scenes):
        catalogue.add_granule(_record(scene, 1_000_000 + 10 * number))
        if scene.product != "SLC":
            continue
        if number % 8 == 0:
            catalogue.add_granule(_metadata_record(scene, 1_000_005 + 10 * number))
        if scene != orphan:
            _add_orbits(catalogue, scene, precise=scene != late, twice=number == 1)
    passes = [
        Pass(one.name, one.mission, one.orbit, _group(one), _state_vectors(one))
        for one in utah[:_BURST_PASSES]
    ]
    for record in records(passes):
        catalogue.add_granule(record)
    catalogue.optical.extend(optical.scenes())
    catalogue.records.extend(sentinels.records())
    catalogue.deleted.extend(sentinels.deleted())
    planetary.build(catalogue)
    catalogue.mast = mast_observations.observations()
    catalogue.buckets[BUCKET] = catalogue.mast.bucket()
    return catalogue


_CALIFORNIA_FRAME, _UTAH_FRAME, _FIJI_FRAME = 122, 466, 1104


def _california() -> list[_Scene]:
    """Relative orbit 35, ascending, northern California, 2018: every second pass of each satellite."""
    scenes = []
    for mission, count in (("S1B", 9), ("S1A", 5)):
        first = SATELLITES[mission].first_pass(35, datetime(2018, 1, 1, tzinfo=UTC))
        for number in range(count):
            orbit = first + number * 175 * (3 if mission == "S1B" else 6)
            polarization = "VV" if (mission, number) in (("S1A", 1), ("S1B", 4)) else "VV+VH"
            scenes.append(_Scene(mission, orbit, _SECONDS_TO_FRAME, _CALIFORNIA_FRAME, 774, polarization))
    # Beside them: the next frame to the north, and a ground-range product of a scene above.
    scenes.append(_Scene("S1B", scenes[0].orbit, _SECONDS_TO_FRAME + 25, 127, 779, "VV+VH"))
    scenes.append(
        _Scene("S1B", scenes[0].orbit, _SECONDS_TO_FRAME, _CALIFORNIA_FRAME, 774, "VV+VH", "GRD_HD")
    )
    return scenes


def _utah() -> list[_Scene]:
    """Relative orbit 100, descending, Utah, 2020: 30 of the 31 passes of Sentinel-1A."""
    first = SATELLITES["S1A"].first_pass(100, datetime(2020, 1, 1, tzinfo=UTC))
    orbits = [first + 175 * number for number in range(31) if number != 15]
    scenes = [_Scene("S1A", orbit, _UTAH_SECONDS, _UTAH_FRAME, 2822, "VV+VH") for orbit in orbits]
    scenes.append(_Scene("S1A", orbits[0], _UTAH_SECONDS, _UTAH_FRAME, 2822, "VV+VH", "GRD_HD"))
    return scenes


def _fiji() -> list[_Scene]:
    """Relative orbit 66, ascending, across the antimeridian."""
    first = SATELLITES["S1A"].first_pass(66, datetime(2020, 6, 1, tzinfo=UTC))
    return [
        _Scene("S1A", first + 175 * number, _FIJI_SECONDS, _FIJI_FRAME, 7044, "VV+VH") for number in range(2)
    ]


def _add_orbits(catalogue: Catalogue, scene: _Scene, *, precise: bool, twice: bool) -> None:
    midnight = scene.start.replace(hour=0, minute=0, second=0, microsecond=0)
    if precise:
        start = midnight - timedelta(seconds=3618)
        stop = midnight + timedelta(days=1, seconds=3582)
        made = midnight + timedelta(days=21, hours=12, minutes=7, seconds=scene.orbit % 60)
        catalogue.add_orbit(make_name(scene.mission, "AUX_POEORB", made, start, stop))
        if twice:
            # Reprocessed later: of two files with the same validity, the newer counts.
            again = datetime(2021, 3, 12, 4, 40, scene.orbit % 60, tzinfo=UTC)
            catalogue.add_orbit(make_name(scene.mission, "AUX_POEORB", again, start, stop))
    # Restituted files begin an orbit apart and are twice as long: two cover each moment.
    for minutes in (70, 168):
        start = scene.start.replace(microsecond=0) - timedelta(minutes=minutes)
        stop = start + timedelta(seconds=11850)
        catalogue.add_orbit(
            make_name(scene.mission, "AUX_RESORB", stop + timedelta(minutes=31, seconds=41), start, stop)
        )


def _record(scene: _Scene, number: int) -> dict[str, Any]:
    slc = scene.product == "SLC"
    granule_ur = f"{scene.name}-{scene.product}"
    collection = "SLC" if slc else "DP_GRD_HIGH"
    letter = scene.mission[2]
    folder = f"{'SLC' if slc else 'GRD_HD'}/S{letter}"
    bucket = "asf-ngap2w-p-s1-slc-7b420b89" if slc else "asf-ngap2w-p-s1-grd-7d1b4348"
    links = [
        {"URL": f"https://datapool.asf.alaska.edu/{folder}/{scene.name}.zip", "Type": "GET DATA"},
        {"URL": f"s3://{bucket}/{scene.name}.zip", "Type": "GET DATA VIA DIRECT ACCESS"},
    ]
    description = (
        "Single Look Complex product"
        if slc
        else "Ground Range High-resolution Dual-polarization detected product"
    )
    attributes = {
        "PROCESSING_TYPE": scene.product,
        "PROCESSING_TYPE_DISPLAY": "L1 Single Look Complex (SLC)"
        if slc
        else "L1 Detected High-Res Dual-Pol (GRD-HD)",
        "PROCESSING_DESCRIPTION": f"Sentinel-1{letter} {description}",
        "BYTES": "0",
        "MD5SUM": "",
    }
    return _granule(
        scene,
        number,
        granule_ur=granule_ur,
        short_name=f"SENTINEL-1{letter}_{collection}",
        links=links,
        more=attributes,
    )


def _metadata_record(scene: _Scene, number: int) -> dict[str, Any]:
    letter = scene.mission[2]
    url = f"https://datapool.asf.alaska.edu/METADATA_SLC/S{letter}/{scene.name}.iso.xml"
    links = [{"URL": url, "Type": "GET DATA"}]
    attributes = {
        "PROCESSING_TYPE": "METADATA_SLC",
        "PROCESSING_TYPE_DISPLAY": "L1 Single Look Complex (SLC) Metadata",
        "BYTES": "0",
        "MD5SUM": "",
    }
    return _granule(
        scene,
        number,
        granule_ur=f"{scene.name}-METADATA_SLC",
        short_name=f"SENTINEL-1{letter}_META_SLC",
        links=links,
        more=attributes,
    )


def _granule(
    scene: _Scene,
    number: int,
    *,
    granule_ur: str,
    short_name: str,
    links: list[dict[str, str]],
    more: dict[str, str],
) -> dict[str, Any]:
    satellite = SATELLITES[scene.mission]
    platform = f"SENTINEL-1{scene.mission[2]}"
    start, stop = (
        f"{scene.start:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
        f"{scene.stop:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
    )
    inserted = scene.start.replace(microsecond=0) + timedelta(days=1, hours=3)
    edges = corners(satellite, scene.start, scene.stop)
    ring = [edges[key] for key in ("NEAR_START", "FAR_START", "FAR_END", "NEAR_END", "NEAR_START")]
    velocity = state(satellite, scene.start)[1]
    attributes = {
        "ACQUISITION_DATE": f"{scene.stop:%Y-%m-%dT%H:%M:%S.%f}Z",
        "ASCENDING_DESCENDING": "ASCENDING" if velocity[2] > 0 else "DESCENDING",
        "ASC_NODE_TIME": f"{satellite.node_of(scene.orbit):%Y-%m-%dT%H:%M:%S.%f}Z",
        "ASF_PLATFORM": f"Sentinel-1{scene.mission[2]}",
        "BEAM_MODE": "IW",
        "BEAM_MODE_DESC": _BEAM,
        "BEAM_MODE_TYPE": "IW",
        "CENTER_ESA_FRAME": str(scene.esa_frame),
        "CENTER_FRAME_ID": str(scene.frame + 2),
        **_center(ring),
        "DOPPLER": "0",
        "FARADAY_ROTATION": "NA",
        "FRAME_NUMBER": str(scene.frame),
        "GRANULE_TYPE": f"SENTINEL_1{scene.mission[2]}_FRAME",
        "GROUP_ID": _group(scene),
        "LOOK_DIRECTION": "R",
        "MISSION_NAME": "NA",
        "PATH_NUMBER": str(satellite.relative(scene.orbit)),
        "POLARIZATION": scene.polarization,
        "PROCESSING_DATE": f"{inserted:%Y-%m-%dT%H:%M:%S.%f}Z",
        "PROCESSING_LEVEL": "L1",
        **{f"{key}_LON": str(longitude) for key, (longitude, _) in edges.items()},
        **{f"{key}_LAT": str(latitude) for key, (_, latitude) in edges.items()},
        **_state_vectors(scene),
        **more,
    }
    stamp = f"{inserted:%Y-%m-%dT%H:%M:%S}"
    meta = {
        "concept-type": "granule",
        "concept-id": f"G{number}-ASF",
        "revision-id": 1,
        "native-id": granule_ur,
        "collection-concept-id": f"C{zlib.crc32(short_name.encode())}-ASF",
        "provider-id": "ASF",
        "format": "application/echo10+xml",
        "revision-date": f"{stamp}.000Z",
    }
    umm = {
        "TemporalExtent": {"RangeDateTime": {"BeginningDateTime": start, "EndingDateTime": stop}},
        "OrbitCalculatedSpatialDomains": [{"OrbitNumber": scene.orbit}],
        "GranuleUR": granule_ur,
        "AdditionalAttributes": [
            {"Name": name, "Values": [value]} for name, value in sorted(attributes.items())
        ],
        "SpatialExtent": {
            "HorizontalSpatialDomain": {
                "Geometry": {
                    "GPolygons": [
                        {"Boundary": {"Points": [{"Longitude": lon, "Latitude": lat} for lon, lat in ring]}}
                    ]
                }
            }
        },
        "ProviderDates": [{"Date": f"{stamp}.000Z", "Type": kind} for kind in ("Insert", "Update")],
        "CollectionReference": {"ShortName": short_name, "Version": "1"},
        "PGEVersionClass": {"PGEName": "Sentinel-1 IPF", "PGEVersion": "002.91"},
        "RelatedUrls": links,
        "DataGranule": {
            "DayNightFlag": "Unspecified",
            "Identifiers": [{"Identifier": scene.name, "IdentifierType": "ProducerGranuleId"}],
            "ProductionDateTime": start,
        },
        "Platforms": [{"ShortName": platform, "Instruments": [{"ShortName": "C-SAR"}]}],
        "MetadataSpecification": {
            "URL": "https://cdn.earthdata.nasa.gov/umm/granule/v1.6.6",
            "Name": "UMM-G",
            "Version": "1.6.6",
        },
    }
    return {"meta": meta, "umm": umm}


def _group(scene: _Scene) -> str:
    track = SATELLITES[scene.mission].relative(scene.orbit)
    channel = "DV" if "+" in scene.polarization else "SV"
    frames = f"{scene.frame - 1:04d}_{scene.frame + 5:04d}"
    return f"{scene.mission}_IW{channel}_{frames}_{scene.orbit:06d}_{track:03d}"


def _center(ring: list[tuple[float, float]]) -> dict[str, str]:
    longitudes = [longitude for longitude, _ in ring[:4]]
    if max(longitudes) - min(longitudes) > 180:
        longitudes = [longitude % 360 for longitude in longitudes]
    middle = (sum(longitudes) / 4 + 180) % 360 - 180
    return {
        "CENTER_LON": f"{middle:.4f}",
        "CENTER_LAT": f"{sum(latitude for _, latitude in ring[:4]) / 4:.4f}",
    }


def _state_vectors(scene: _Scene) -> dict[str, str]:
    middle = (scene.start + timedelta(seconds=_SCENE_LENGTH / 2)).replace(microsecond=0)
    out = {}
    for label, moment in (("PRE", middle - timedelta(seconds=5)), ("POST", middle + timedelta(seconds=5))):
        for kind, vector in zip(
            ("POSITION", "VELOCITY"), state(SATELLITES[scene.mission], moment), strict=True
        ):
            numbers = ",".join(f"{value:.6f}" for value in vector)
            out[f"SV_{kind}_{label}"] = f"{numbers},{moment:%Y-%m-%dT%H:%M:%S.%f}"
    return out
