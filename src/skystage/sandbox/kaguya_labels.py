"""The labels of Kaguya's scenes, in the two dialects of the Parameter Value Language that the real ones have.

ISIS writes ``Object = ... End_Object`` with each value in a column of its group, units in angle brackets, and
long texts over several lines; PDS3 has upper case, comments, pointers, and everything in one column.

Source: ISIS, output of ``caminfo`` and ``catlab``; PDS Standards Reference 3.8, chapter 12.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

from skystage.sandbox.kaguya import RADIUS, Scene

Entry: TypeAlias = "tuple[str, str] | tuple[str, str, Sequence[Entry]]"
"""A key and its value; or ``Object`` or ``Group``, its name, and what is in it."""

_LINES, _SAMPLES = 4656, 3208
_ALTITUDE = 100.0
"""Kilometres."""


def caminfo(scene: Scene) -> bytes:
    """What ``caminfo`` says of a scene: angles, corners, footprint."""
    return _written(
        [
            (
                "Object",
                "Caminfo",
                [
                    ("Object", "Parameters", _parameters(scene)),
                    ("Object", "Statistics", _statistics(scene)),
                    ("Object", "Geometry", _geometry(scene)),
                    ("Object", "Polygon", [*_polygon(scene), ("Group", "Mapping", _mapping(scene))]),
                ],
            )
        ],
    )


def isis(scene: Scene) -> bytes:
    """The label of the image cube."""
    core: list[Entry] = [
        ("StartByte", "65537"),
        ("Format", "Tile"),
        ("TileSamples", "802"),
        ("TileLines", "776"),
        ("Group", "Dimensions", [("Samples", str(_SAMPLES)), ("Lines", str(_LINES)), ("Bands", "1")]),
        (
            "Group",
            "Pixels",
            [("Type", "SignedWord"), ("ByteOrder", "Lsb"), ("Base", "0.0"), ("Multiplier", "0.013")],
        ),
    ]
    tables = [
        _table(name, 576 + 8 * number, fields)
        for number, (name, fields) in enumerate(
            (
                ("InstrumentPointing", _ROTATION),
                ("InstrumentPosition", _STATE),
                ("BodyRotation", _ROTATION),
                ("SunPosition", _STATE),
            )
        )
    ]
    return _written(
        [
            (
                "Object",
                "IsisCube",
                [
                    ("Object", "Core", core),
                    ("Group", "Instrument", _instrument(scene)),
                    ("Group", "Archive", _archive(scene)),
                    (
                        "Group",
                        "BandBin",
                        [("FilterName", "BroadBand"), ("Center", "640nm"), ("Width", "420nm")],
                    ),
                    ("Group", "Kernels", _kernels(scene)),
                ],
            ),
            ("Object", "Label", [("Bytes", "65536")]),
            *tables,
        ],
    )


def pds(scene: Scene) -> bytes:
    """The label of JAXA's product."""
    west, south, east, north = scene.bounds
    corners = {"UPPER_LEFT": (north, west), "UPPER_RIGHT": (north, east)}
    corners |= {"LOWER_LEFT": (south, west), "LOWER_RIGHT": (south, east)}
    places = [
        (f"{corner}_{axis}", f"{value:10.6f} <deg>")
        for corner, place in corners.items()
        for axis, value in zip(("LATITUDE", "LONGITUDE"), place, strict=True)
    ]
    file = f'"{scene.name}.img"'
    blocks: list[tuple[str, list[tuple[str, str]]]] = [
        ("FILE FORMAT", [("RECORD_TYPE", '"UNDEFINED"'), ("FILE_NAME", file)]),
        ("POINTERS TO START BYTE OFFSET OF OBJECTS IN FILE", [("^IMAGE", f"({file}, 1 <BYTES>)")]),
        (
            "BASIC INFORMATION",
            [
                ("MISSION_NAME", '"SELENE"'),
                ("PRODUCT_ID", f'"{scene.name}"'),
                ("INSTRUMENT_TYPE", '"IMAGER"'),
                ("INSTRUMENT_ID", f'"TC{scene.camera}"'),
                ("INSTRUMENT_NAME", f'"TERRAIN CAMERA {scene.camera}"'),
                ("TARGET_TYPE", '"SATELLITE"'),
                ("TARGET_NAME", '"MOON"'),
                ("START_TIME", _time(scene.start)),
                ("STOP_TIME", _time(scene.stop)),
            ],
        ),
        (
            "SCENE RELATED PARAMETERS",
            [
                ("REVOLUTION_NUMBER", str(scene.revolution)),
                ("DETECTOR_STATUS", '("TC1:ON","TC2:ON","MV:OFF","MN:OFF","SP:ON")'),
                ("EXPOSURE_MODE_ID", '"LONG"'),
                ("LINE_EXPOSURE_DURATION", "(6.500000 <ms>)"),
                ("SENSOR_DESCRIPTION", f'"{_SENSOR}"'),
                *places,
                ("SCENE_CENTER_LATITUDE", f"{scene.latitude:10.6f} <deg>"),
                ("SCENE_CENTER_LONGITUDE", f"{scene.longitude:10.6f} <deg>"),
                ("INCIDENCE_ANGLE", f"{scene.incidence:7.3f} <deg>"),
                ("EMISSION_ANGLE", f"{scene.emission:7.3f} <deg>"),
                ("PHASE_ANGLE", f"{scene.phase:7.3f} <deg>"),
                ("SATELLITE_MOVING_DIRECTION", "+1"),
                ("A_AXIS_RADIUS", "1737.400 <km>"),
                ("DEFECT_PIXEL_POSITION", '"N/A"'),
            ],
        ),
        (
            "CAMERA RELATED PARAMETERS",
            [
                ("SWATH_MODE_ID", '"FULL"'),
                ("FIRST_PIXEL_NUMBER", "1"),
                ("LAST_PIXEL_NUMBER", str(_SAMPLES)),
                ("SPACECRAFT_ALTITUDE", f"{_ALTITUDE:8.3f} <km>"),
                ("FOCAL_PLANE_TEMPERATURE", "(17.48 <degC>)"),
            ],
        ),
    ]
    lines = [_column("PDS_VERSION_ID", '"PDS3"')]
    for title, entries in blocks:
        lines += ["", f"/*** {title} ***/", *(_column(key, value) for key, value in entries)]
    inside = [
        ("LINES", str(_LINES)),
        ("LINE_SAMPLES", str(_SAMPLES)),
        ("SAMPLE_TYPE", "MSB_INTEGER"),
        ("SAMPLE_BITS", "16"),
        ("UNIT", '"W/m**2/micron/sr"'),
        ("SCALING_FACTOR", "1.30000e-02"),
        ("OFFSET", "0.00000e+00"),
        ("INVALID_TYPE", '("SATURATION" , "MINUS" , "DUMMY_DEFECT" , "OTHER")'),
        ("INVALID_VALUE", "(-20000 , -21000 , -22000 , -23000)"),
    ]
    lines += ["", "/*** DESCRIPTION OF OBJECTS CONTAINED IN THE FILE ***/", ""]
    lines += [
        _column("OBJECT", "IMAGE"),
        *(_column(f"    {key}", value) for key, value in inside),
        _column("END_OBJECT", "IMAGE"),
        "END",
        "",
    ]
    return "\r\n".join(lines).encode()


def provenance(scene: Scene) -> bytes:
    """How a product was made: that it was not."""
    return f"{scene.name}: a stand-in of the sandbox; no processing step has seen the Moon.\n".encode()


def isd(name: str) -> bytes:
    """The camera's model as JSON, without most of it."""
    said = {"name_model": "USGS_ASTRO_LINE_SCANNER_SENSOR_MODEL", "name_platform": "KAGUYA"}
    radii = {"semimajor": RADIUS / 1000, "semiminor": RADIUS / 1000, "unit": "km"}
    return json.dumps({**said, "image_identifier": name, "radii": radii}, indent=2).encode()


# --------------------------------------------------------------------------------------------------
# What is said


def _parameters(scene: Scene) -> list[Entry]:
    return [
        ("Program", "caminfo"),
        ("IsisVersion", '"7.2.0  | 2023-03-14"'),
        ("RunDate", "2023-08-23T19:23:38"),
        ("IsisId", f"KAGUYA/TC{scene.camera}/{_time(scene.start)}"),
        ("From", f"{scene.name}.l1.cub"),
        ("Lines", str(_LINES)),
        ("Samples", str(_SAMPLES)),
        ("Bands", "1"),
    ]


def _statistics(scene: Scene) -> list[Entry]:
    mean = 26 * math.cos(math.radians(scene.incidence))
    return [
        ("MeanValue", _number(mean)),
        ("StandardDeviation", _number(mean / 5)),
        ("MinimumValue", "0.624"),
        ("MaximumValue", "30.758"),
        *((f"Percent{kind}", "0.0") for kind in ("HIS", "HRS", "LIS", "LRS", "Null")),
        ("TotalPixels", f"{_LINES * _SAMPLES}.0"),
    ]


def _geometry(scene: Scene) -> list[Entry]:
    west, south, east, north = scene.bounds
    slant = _ALTITUDE / math.cos(math.radians(scene.emission))
    ground = 2 * (north - scene.latitude) * math.radians(1) * RADIUS / _LINES
    numbers = {
        "CenterLine": _LINES / 2,
        "CenterSample": _SAMPLES / 2,
        "CenterLatitude": scene.latitude,
        "CenterLongitude": scene.longitude,
        "CenterRadius": RADIUS - 1800.0,
        "RightAscension": scene.sun_longitude,
        "Declination": -28.5,
        "UpperLeftLongitude": west % 360,
        "UpperLeftLatitude": north,
        "LowerLeftLongitude": west % 360,
        "LowerLeftLatitude": south,
        "LowerRightLongitude": east % 360,
        "LowerRightLatitude": south,
        "UpperRightLongitude": east % 360,
        "UpperRightLatitude": north,
        "PhaseAngle": scene.phase,
        "EmissionAngle": scene.emission,
        "IncidenceAngle": scene.incidence,
        "NorthAzimuth": 270.0 + scene.emission / 20,
        "OffNadir": scene.emission - 0.9,
        "SolarLongitude": 136.95936411749,
        "LocalTime": scene.local_time,
        "TargetCenterDistance": (RADIUS + 1000 * _ALTITUDE) / 1000,
        "SlantDistance": slant,
        **{f"{kind}Resolution": ground for kind in ("Sample", "Line", "Pixel", "MeanGround")},
        "SubSolarAzimuth": 2.3548123522831,
        "SubSolarGroundAzimuth": 90.0 if scene.local_time < 12 else 270.0,
        "SubSolarLatitude": 0.0,
        "SubSolarLongitude": scene.sun_longitude,
        "SubSpacecraftAzimuth": 281.83424784341,
        "SubSpacecraftGroundAzimuth": 9.3803002739782,
        "SubSpacecraftLatitude": scene.latitude + (0.85 if scene.camera == 2 else -0.85),
        "SubSpacecraftLongitude": scene.longitude,
        "ParallaxX": -math.tan(math.radians(scene.emission)),
        "ParallaxY": 0.051695948989273,
        "ShadowX": 0.092950003064326,
        "ShadowY": math.tan(math.radians(scene.incidence)),
    }
    oblique = ground / math.cos(math.radians(scene.emission))
    return [
        ("BandsUsed", "1"),
        ("ReferenceBand", "1"),
        ("OriginalBand", "1"),
        ("Target", "MOON"),
        ("StartTime", _time(scene.start)),
        ("EndTime", _time(scene.stop)),
        *((name, _number(value)) for name, value in numbers.items()),
        ("HasLongitudeBoundary", str(west < 0 or east > 360).upper()),
        ("HasNorthPole", "FALSE"),
        ("HasSouthPole", "FALSE"),
        *((f"Oblique{kind}Resolution", _number(oblique)) for kind in ("Sample", "Line", "Pixel", "Detector")),
    ]


def _polygon(scene: Scene) -> list[Entry]:
    west, south, east, north = scene.bounds
    degree = math.radians(1) * RADIUS / 1000
    area = (east - west) * (north - south) * degree**2
    points = ", ".join(f"{longitude % 360:.16f} {latitude:.16f}" for longitude, latitude in scene.ring)
    return [
        ("CentroidLine", _number(_LINES / 2)),
        ("CentroidSample", _number(_SAMPLES / 2)),
        ("CentroidLatitude", _number(scene.latitude)),
        ("CentroidLongitude", _number(scene.longitude)),
        ("CentroidRadius", f"{RADIUS - 1800} <meters>"),
        ("SurfaceArea", f"{_number(area)} <km^2>"),
        ("GlobalCoverage", f"{area / (4 * math.pi * (RADIUS / 1000) ** 2) * 100:.6f} <percent>"),
        ("SampleIncrement", "278"),
        ("LineIncrement", "278"),
        ("GisFootprint", f'"MULTIPOLYGON ((({points})))"'),
    ]


def _mapping(scene: Scene) -> list[Entry]:
    west, south, east, north = scene.bounds
    return [
        ("TargetName", "MOON"),
        ("EquatorialRadius", f"{RADIUS} <meters>"),
        ("PolarRadius", f"{RADIUS} <meters>"),
        ("LatitudeType", "Planetocentric"),
        ("LongitudeDirection", "PositiveEast"),
        ("LongitudeDomain", "360"),
        ("MinimumLatitude", _number(south)),
        ("MaximumLatitude", _number(north)),
        ("MinimumLongitude", _number(west % 360)),
        ("MaximumLongitude", _number(east % 360)),
        ("ProjectionName", "Sinusoidal"),
        ("CenterLongitude", _number(scene.longitude)),
    ]


_SENSOR = (
    "Imagery type:Pushbroom. ImageryMode:Mono,Stereo. ExposureTimeMode:Long,Middle,Short. "
    "CompressionMode:NonComp,DCT. SwathMode:F(Full),N(Nominal),H(Half)."
)


def _instrument(scene: Scene) -> list[Entry]:
    return [
        ("MissionName", "SELENE"),
        ("SpacecraftName", "KAGUYA"),
        ("InstrumentName", f'"TERRAIN CAMERA {scene.camera}"'),
        ("InstrumentId", f"TC{scene.camera}"),
        ("TargetName", "MOON"),
        ("ObservationModeId", "NORMAL"),
        ("SensorDescription", f'"{_SENSOR}"'),
        ("StartTime", _time(scene.start)),
        ("StopTime", _time(scene.stop)),
        ("ExposureModeId", "LONG"),
        ("ExposureDuration", "6.500000 <ms>"),
        ("SpacecraftClockStartCount", f'"{scene.start.timestamp():.4f} <s>"'),
        ("LineSamplingInterval", "6.499943 <ms>"),
        ("SwathModeId", "FULL"),
        ("IlluminationCondition", "MORNING" if scene.local_time < 12 else "EVENING"),
    ]


def _archive(scene: Scene) -> list[Entry]:
    return [
        ("ProductId", scene.name),
        ("SoftwareVersion", "1.0.0"),
        ("ProcessVersionId", "L2B"),
        ("ProducerId", "LISM"),
        ("ProductVersionId", "01"),
        ("RegisteredProduct", "Y"),
        ("ImageValueType", "RADIANCE"),
        ("ImageUnit", "W/m**2/micron/sr"),
        ("InvalidType", "(SATURATION, MINUS, DUMMY_DEFECT, OTHER)"),
        ("InvalidValue", "(-20000, -21000, -22000, -23000)"),
        ("RadianceSaturationThreshold", "425.971000 <W/m**2/micron/sr>"),
    ]


def _kernels(scene: Scene) -> list[Entry]:
    return [
        ("NaifCkCode", "-131350"),
        ("NaifFrameCode", str(-131351 - 20 * (scene.camera - 1))),
        ("LeapSecond", "$base/kernels/lsk/naif0012.tls"),
        ("TargetAttitudeShape", f"({', '.join(_SHAPE)})"),
        ("InstrumentPointing", "(Table, $kaguya/kernels/ck/SEL_M_ALL_D_V02.BC)"),
        ("InstrumentPositionQuality", "Smithed"),
        ("CameraVersion", "2"),
        ("Source", "isis"),
    ]


_SHAPE = (
    "$base/kernels/pck/pck00009.tpc",
    "$kaguya/kernels/pck/moon_080317.tf",
    "$kaguya/kernels/pck/moon_assoc_me.tf",
)
_ROTATION = ("J2000Q0", "J2000Q1", "J2000Q2", "J2000Q3", "AV1", "AV2", "AV3", "ET")
_STATE = ("J2000X", "J2000Y", "J2000Z", "J2000XV", "J2000YV", "J2000ZV", "ET")


def _table(name: str, size: int, fields: Sequence[str]) -> Entry:
    described: list[Entry] = [
        ("Group", "Field", [("Name", field), ("Type", "Double"), ("Size", "1")]) for field in fields
    ]
    said: list[Entry] = [
        ("Name", name),
        ("StartByte", "15215111"),
        ("Bytes", str(size)),
        ("Records", str(size // 8 // len(fields))),
        ("ByteOrder", "Lsb"),
        ("Description", '"Created by spiceinit"'),
    ]
    return ("Object", "Table", [*said, *described])


# --------------------------------------------------------------------------------------------------
# How it is written


def _written(entries: Sequence[Entry]) -> bytes:
    return "\n".join([*_lines(entries, ""), "End", ""]).encode()


def _lines(entries: Sequence[Entry], indent: str) -> Iterator[str]:
    width = max((len(entry[0]) for entry in entries if len(entry) == 2), default=0)
    for number, entry in enumerate(entries):
        if len(entry) == 2:
            key, value = entry
            head = f"{indent}{key:<{width}} = "
            yield from _wrapped(head, value)
            continue
        word, name, inside = entry
        if number and indent:
            yield ""
        yield f"{indent}{word} = {name}"
        yield from _lines(inside, f"{indent}  ")
        yield f"{indent}End_{word}"


def _wrapped(head: str, value: str) -> list[str]:
    """A value, over several lines where it is long: those that follow begin below it."""
    if len(head) + len(value) <= 80:
        return [head + value]
    wrapper = textwrap.TextWrapper(80, head, " " * len(head), break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(value)


def _column(key: str, value: str) -> str:
    return f"{key:<36} = {value}"


def _number(value: float) -> str:
    text = f"{value:.14g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}"
