"""Elevation in ISCE2's form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def write(path: Path, heights: NDArray[np.float32], transform: Any, reference: str) -> list[str]:
    """A flat file of floats with the two headers that ISCE2 reads: its own XML, and a VRT for GDAL.

    ISCE2 takes the first coordinates as those of the first sample, as the SRTM tiles that it was made for
    have it; GDAL takes a pixel's corner. Each header says it in its own way.
    """
    rows, columns = heights.shape
    heights.astype("<f4").tofile(path)
    first = transform.c + transform.a / 2, transform.f + transform.e / 2
    axes = "".join(
        _axis(number, doc, start, step, size)
        for number, doc, start, step, size in (
            (1, "First coordinate of a 2D image (width).", first[0], transform.a, columns),
            (2, "Second coordinate of a 2D image (length).", first[1], transform.e, rows),
        )
    )
    values = {
        "access_mode": "read",
        "byte_order": "l",
        "data_type": "float",
        "family": "demimage",
        "file_name": path.name,
        "image_type": "dem",
        "length": rows,
        "name": "dem",
        "number_bands": 1,
        "reference": reference,
        "scheme": "BIP",
        "width": columns,
        "xmin": first[0],
        "xmax": first[0] + columns * transform.a,
    }
    said = "".join(_property(name, value) for name, value in values.items())
    xml = path.with_name(f"{path.name}.xml")
    xml.write_text(f"<imageFile>\n{axes}{said}</imageFile>\n")
    vrt = path.with_name(f"{path.name}.vrt")
    place = ", ".join(repr(float(one)) for one in transform.to_gdal())
    vrt.write_text(
        f'<VRTDataset rasterXSize="{columns}" rasterYSize="{rows}"><SRS>EPSG:4326</SRS>'
        f"<GeoTransform>{place}</GeoTransform>"
        '<VRTRasterBand dataType="Float32" band="1" subClass="VRTRawRasterBand">'
        f'<SourceFilename relativeToVRT="1">{escape(path.name)}</SourceFilename>'
        f"<ByteOrder>LSB</ByteOrder><ImageOffset>0</ImageOffset><PixelOffset>4</PixelOffset>"
        f"<LineOffset>{4 * columns}</LineOffset></VRTRasterBand></VRTDataset>\n"
    )
    return [path.name, xml.name, vrt.name]


def _axis(number: int, doc: str, start: float, step: float, size: int) -> str:
    values = {
        "delta": step,
        "endingvalue": start + size * step,
        "family": "imagecoordinate",
        "name": "imagecoordinate_name",
        "size": size,
        "startingvalue": start,
    }
    said = "".join(_property(name, value) for name, value in values.items())
    return (
        f'<component name="coordinate{number}">\n<factorymodule>isceobj.Image</factorymodule>\n'
        f"<factoryname>createCoordinate</factoryname>\n<doc>{doc}</doc>\n{said}</component>\n"
    )


def _property(name: str, value: object) -> str:
    return f'<property name="{name}">\n<value>{escape(str(value))}</value>\n</property>\n'
