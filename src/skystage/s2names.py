"""Sentinel-2's names of products and of the files in them: read here, and nowhere else. No I/O.

Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), 3.4: the compact names, which there
are since December 2016.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

PRODUCT = re.compile(
    r"(?P<unit>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<datatake>\d{8}T\d{6})_N(?P<baseline>\d{4})_R(?P<orbit>\d{3})"
    r"_T(?P<tile>\d\d[A-Z]{3})_(?P<made>\d{8}T\d{6})"
)
"""The name of a product without suffix."""
UNNUMBERED = "9999"
"""What the processor writes as its baseline that users run themselves (Sen2Cor): it is older than any."""
RESOLUTIONS = ("10m", "20m", "60m")
"""The finest first."""
REFLECTANCE, DEPTH, PICTURE, SCENE, MASK = "reflectance", "depth", "picture", "classes", "mask"
"""Kinds of bands: B02; AOT and WVP; TCI; SCL; what begins with MSK_."""
METADATA = "product_metadata"
"""The key of the product's own XML, which says quantification and offsets."""
_DOCUMENTS = {
    "MTD_MSIL1C.xml": METADATA,
    "MTD_MSIL2A.xml": METADATA,
    "MTD_TL.xml": "granule_metadata",
    "MTD_DS.xml": "datastrip_metadata",
    "INSPIRE.xml": "inspire_metadata",
}
_KINDS = {"AOT": DEPTH, "WVP": DEPTH, "TCI": PICTURE, "SCL": SCENE}
# Before what is read there may be anything: L2A_ in names before baseline 02.07, more in older ones.
_BAND = re.compile(r"(?:.*_)?(?P<key>(?P<name>B0[1-9]|B1[0-2]|B8A|AOT|WVP|TCI|SCL)(?:_[126]0m)?)")
_MASK = re.compile(r"(?:.*_)?(?P<key>MSK_\w+)")
_PREVIEW = re.compile(r"(?:.*_)?(?P<key>PVI)")
_QUALITY = re.compile(r"(?P<key>[A-Z]+_(?:QUALITY|CORRECTNESS))")


@dataclass(frozen=True, slots=True)
class Product:
    """What a product's name says.

    Attributes
    ----------
    baseline
        Of the processing: ``05.00``; None where the name has none that counts (names before December
        2016; N9999, which users' own Sen2Cor writes).
    sensed
        The datatake's begin, UTC.
    """

    id: str
    tile: str = ""
    baseline: str | None = None
    sensed: datetime | None = None

    @classmethod
    def named(cls, name: str) -> Product:
        """Read the name of a product; what is behind it does not count."""
        found = PRODUCT.match(name)
        if found is None:
            return cls(name)
        number, sensed = found["baseline"], None
        with suppress(ValueError):  # a month 13
            sensed = datetime.strptime(found["datatake"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        return cls(
            name, found["tile"], None if number == UNNUMBERED else f"{number[:2]}.{number[2:]}", sensed
        )


@dataclass(frozen=True, slots=True)
class Band:
    """What the name of a band's file says.

    Attributes
    ----------
    key
        As in plans: ``B02_10m``, ``B02`` (level 1C has no resolution in its names), ``MSK_CLDPRB_20m``.
    name
        Without resolution.
    """

    key: str
    name: str
    kind: str

    @classmethod
    def named(cls, stem: str) -> Band | None:
        """Read the name of a file without its suffix; None if it is no band."""
        if found := _MASK.fullmatch(stem):
            return cls(found["key"], found["key"], MASK)
        if not (found := _BAND.fullmatch(stem)):
            return None
        return cls(found["key"], found["name"], _KINDS.get(found["name"], REFLECTANCE))

    @property
    def is_classes(self) -> bool:
        """Whether its values are names for something: no mean of them means anything."""
        return self.kind in {SCENE, MASK}

    @property
    def nodata(self) -> int:
        """The value of a pixel without data: 0; in masks 0 is a value like others, and 255 is none."""
        return 255 if self.kind == MASK else 0


def key(path: str) -> str | None:
    """The key of a file by its path in its product; None for what nobody asks for."""
    folder, _, name = path.rpartition("/")
    if name in _DOCUMENTS:
        return _DOCUMENTS[name]
    if not folder.startswith("GRANULE/"):
        return None
    stem, _, suffix = name.rpartition(".")
    if suffix in {"jp2", "gml"} and (band := Band.named(stem)) is not None:
        return band.key
    pattern = {"jp2": _PREVIEW, "xml": _QUALITY}.get(suffix)
    found = None if pattern is None else pattern.fullmatch(stem)
    return None if found is None else found["key"]


def finest(key: str, keys: Collection[str]) -> str | None:
    """The key that is meant: itself, or the one of that band with the smallest pixels."""
    if key in keys:
        return key
    return next((one for end in RESOLUTIONS if (one := f"{key}_{end}") in keys), None)
