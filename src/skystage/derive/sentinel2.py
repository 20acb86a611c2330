"""What Sentinel-2's numbers mean: of bands, by the product's metadata, and of classes of the scene. No I/O.

Sources: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD) for quantification and offsets; the
scene classification is that of Sen2Cor, as each product lists it in its MTD_MSIL2A.xml.
"""

from __future__ import annotations

import difflib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from skystage.errors import QueryError, StructureError, Unresolvable
from skystage.s2names import DEPTH, METADATA, REFLECTANCE, Band, Product

CLASSES: Mapping[str, int] = {
    "no_data": 0,
    "saturated": 1,
    "dark": 2,
    "cloud_shadow": 3,
    "vegetation": 4,
    "not_vegetated": 5,
    "water": 6,
    "unclassified": 7,
    "cloud_medium": 8,
    "cloud_high": 9,
    "cirrus": 10,
    "snow": 11,
}
"""The classes of SCL."""
CLOUD = (8, 9, 10)
"""Medium and high probability of cloud, and thin cirrus: what the product's own cloud percentage counts."""
SHADOW = (3,)
GROUPS: Mapping[str, tuple[int, ...]] = {"cloud": CLOUD, "shadow": SHADOW}
COLOURS = (
    *("#000000", "#ff0000", "#2f2f2f", "#643200", "#00a000", "#ffe65a"),
    *("#0000ff", "#808080", "#c0c0c0", "#ffffff", "#64c8ff", "#ff96ff"),
)
"""Of the classes, as Sen2Cor and SNAP show them."""
OFFSET_SINCE = "04.00"
"""The baseline since which reflectances have an offset, so that dark pixels are not cut off at 0."""
OFFSET = -1000.0
UNNUMBERED = "99.99"
"""What the metadata of users' own Sen2Cor says for a baseline: no number, but offsets where there are any."""
_SPECTRAL = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""In the order of the ``band_id`` of the metadata."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a band's digital numbers mean: ``(DN + offset) / quantification``; 0 is no data."""

    quantification: float
    offset: float


@dataclass(frozen=True, slots=True)
class Radiometry:
    """What the numbers of a product's bands mean.

    Attributes
    ----------
    quantification
        By ``BOA`` (or ``TOA``, at level 1C: both under ``REFLECTANCE``), ``AOT`` and ``WVP``.
    offsets
        By the name of the spectral band, in digital numbers.
    baseline
        What the product says, or its name.
    """

    quantification: Mapping[str, float] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)
    baseline: str | None = None

    def of(self, band: Band) -> Numbers | None:
        """The numbers of a band; None for pictures and classes, which are what they are.

        Raises
        ------
        Unresolvable
            If nothing says which baseline the product has, and so whether there is an offset.
        """
        if band.kind == DEPTH:
            return Numbers(self.quantification.get(band.name, 1000.0), 0.0)
        if band.kind != REFLECTANCE:
            return None
        offset = self.offsets.get(band.name)
        if offset is None:
            if self.baseline is None:
                raise Unresolvable(
                    f"{band.key}: the product's name says no baseline, so its offset is not known",
                    hint=f"stage its metadata as well: assets: [{METADATA}, ...]",
                )
            offset = OFFSET if self.baseline >= OFFSET_SINCE else 0.0
        return Numbers(self.quantification.get(REFLECTANCE, 10000.0), offset)


def radiometry(product: Product, metadata: bytes | None = None) -> Radiometry:
    """What a product's numbers mean: from its metadata, else from the baseline in its name.

    Parameters
    ----------
    metadata
        MTD_MSIL2A.xml or MTD_MSIL1C.xml.

    Raises
    ------
    StructureError
        If that is no XML, or says what is no number.
    """
    if metadata is None:
        return Radiometry(baseline=product.baseline)
    quantification: dict[str, float] = {}
    offsets: dict[str, float] = {}
    baseline = product.baseline
    try:
        for element in ET.fromstring(metadata).iter():  # noqa: S314 - expat of Python 3.11 bounds expansion
            name, text = element.tag.rpartition("}")[2], element.text or ""
            if name == "PROCESSING_BASELINE":
                baseline = text.strip()
            elif name in {"BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"}:
                offsets[_SPECTRAL[int(element.attrib["band_id"])]] = float(text)
            elif name.endswith("QUANTIFICATION_VALUE"):
                kind = next((one for one in ("AOT", "WVP") if one in name), REFLECTANCE)
                quantification[kind] = float(text)
    except (ET.ParseError, LookupError, ValueError) as error:
        raise StructureError(f"{product.id}: its metadata cannot be read: {error}") from None
    if baseline == UNNUMBERED and not offsets:
        offsets = dict.fromkeys(_SPECTRAL, 0.0)
    return Radiometry(quantification, offsets, baseline)


def scene_classes(given: Iterable[str]) -> tuple[int, ...]:
    """The classes of SCL that are meant by names, numbers or groups (``cloud``, ``shadow``), in order.

    Raises
    ------
    QueryError
        If there is no such class.
    """
    found: set[int] = set()
    for word in given:
        text = word.strip().lower()
        if text in GROUPS:
            found.update(GROUPS[text])
        elif text in CLASSES:
            found.add(CLASSES[text])
        elif text.isdecimal() and int(text) in CLASSES.values():
            found.add(int(text))
        else:
            allowed = [*GROUPS, *CLASSES]
            near = difflib.get_close_matches(text, allowed, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise QueryError(
                f"--mask-scl: got {word!r}", hint=f"allowed: 0 to 11, {', '.join(allowed)}{meant}"
            )
    return tuple(sorted(found))
