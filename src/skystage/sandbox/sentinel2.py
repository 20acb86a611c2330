"""Sentinel-2 products: every file of the folder that is zipped as one product, made when it is asked for.

Folders, names and metadata follow the public descriptions of the products (Sentinel-2 Products Specification
Document) and change with the processing baseline as the real ones do: prefixed names before 02.07, masks as
GML before 04.00 and as images from then on, an offset in the numbers from 04.00 on, other digests in the
manifest from 05.00 on. Only the pixels are made up, and they are 30 times as large: the corners of a tile are
the true ones, and its 10 m bands have 366 pixels a side.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from xml.sax.saxutils import escape

from skystage.sandbox import sentinel2_images as images
from skystage.sandbox.files import Content, Made, Part, Segment, Segments
from skystage.sandbox.payloads import stored_zip
from skystage.sandbox.sentinel2_images import BANDS, OFFSET, PIXELS, Grid, View

_NAME = re.compile(
    r"(?P<mission>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<sensed>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R(?P<relative>\d{3})_T(?P<tile>\d{2}[C-X][A-Z]{2})_(?P<made>\d{8}T\d{6})"
)
_JP2 = "image/jp2"
_STAMP = "%Y%m%dT%H%M%S"

_RESOLUTION = dict.fromkeys(BANDS, 20) | dict.fromkeys(("B02", "B03", "B04", "B08", "TCI"), 10)
_RESOLUTION |= dict.fromkeys(("B01", "B09", "B10"), 60)
"""Metres of a pixel, by band, as they are measured."""
_LEVEL_2A = {
    10: ("AOT", "B02", "B03", "B04", "B08", "TCI", "WVP"),
    20: ("AOT", "B02", "B03", "B04", "B05", "B06", "B07", "B11", "B12", "B8A", "SCL", "TCI", "WVP"),
    60: (
        *("AOT", "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B11", "B12", "B8A"),
        *("SCL", "TCI", "WVP"),
    ),
}
_CHECKS = ("FORMAT_CORRECTNESS", "GENERAL_QUALITY", "GEOMETRIC_QUALITY")


@dataclass(frozen=True)
class Scene:
    """What a product is made from: its name, and what the name does not say.

    Raises
    ------
    ValueError
        If that is no name of a Sentinel-2 product, or the pixels are no multiple of 6.
    """

    name: str
    """Without ``.SAFE``."""
    cloud_cover: float
    """Percent."""
    orbit: int
    """The absolute number."""
    cut: tuple[float, float] | None = None
    """As in `View`."""
    pixels: int = PIXELS
    """Along each side of a 10 m band: a multiple of 6."""
    online: bool = True
    measured: bool = True
    """Whether the record has a size and checksums."""

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(f"no name of a Sentinel-2 product: {self.name}")
        if self.pixels < 6 or self.pixels % 6:
            raise ValueError(f"{self.pixels} pixels cannot be had at 10, 20 and 60 m: a multiple of 6 can")

    def _part(self, name: str) -> str:
        match = _NAME.fullmatch(self.name)
        assert match is not None  # noqa: S101 - looked at when it was made
        return match[name]

    @cached_property
    def mission(self) -> str:
        """``S2A`` and so on."""
        return self._part("mission")

    @cached_property
    def level(self) -> str:
        """``L1C`` or ``L2A``."""
        return self._part("level")

    @cached_property
    def tile(self) -> str:
        """``31UFS``."""
        return self._part("tile")

    @cached_property
    def baseline(self) -> str:
        """``0208``."""
        return self._part("baseline")

    @property
    def version(self) -> str:
        """The baseline as it is written elsewhere: ``02.08``."""
        return f"{self.baseline[:2]}.{self.baseline[2:]}"

    @cached_property
    def relative_orbit(self) -> int:
        """The number of the track."""
        return int(self._part("relative"))

    @cached_property
    def sensed(self) -> datetime:
        """When the data take began."""
        moment = datetime.strptime(self._part("sensed"), _STAMP).replace(tzinfo=UTC)
        return moment + timedelta(milliseconds=24)

    @cached_property
    def made(self) -> datetime:
        """When the product was made."""
        return datetime.strptime(self._part("made"), _STAMP).replace(tzinfo=UTC)

    @property
    def kind(self) -> str:
        """The product type."""
        return f"S2MSI{self.level[1:]}"

    @property
    def folder(self) -> str:
        """The name of the folder."""
        return f"{self.name}.SAFE"

    @property
    def s3_path(self) -> str:
        """Where the folder lies in the archive's bucket."""
        level = f"{self.level}_N0500" if self.baseline == "0500" else self.level
        return f"/eodata/Sentinel-2/MSI/{level}/{self.sensed:%Y/%m/%d}/{self.folder}"

    @property
    def datatake(self) -> str:
        """The identifier of the data take."""
        return f"G{self.mission}_{self.sensed:{_STAMP}}_{self.orbit:06d}_N{self.version}"

    @property
    def datastrip(self) -> str:
        """The identifier of the data strip."""
        head = f"{self.mission}_OPER_MSI_{self.level}_DS_{self._facility}"
        return f"{head}_{self.made:{_STAMP}}_S{self._began:{_STAMP}}_N{self.version}"

    @property
    def footprint(self) -> list[tuple[float, float]]:
        """The closed ring of longitudes and latitudes, WGS 84, without what the swath's edge cuts off."""
        return list(_ring(grid(self.tile), self.cut))

    @property
    def view(self) -> View:
        """What its pixels depend on."""
        sensing = f"{self.mission}_{self.sensed:{_STAMP}}"
        return View(grid(self.tile), sensing, self.cloud_cover, self.cut)

    @property
    def _began(self) -> datetime:
        """When the strip of this tile began: some seconds after the data take."""
        return self.sensed + timedelta(seconds=3 + self.orbit % 90)

    @property
    def _facility(self) -> str:
        if self.baseline == "0500":
            return "S2RP"
        if self.baseline > "0500":
            return f"{self.mission[1:]}PS"
        return "EPAE" if self.baseline == "0207" else "MPS_"

    @property
    def granule(self) -> str:
        """The folder of the tile."""
        return f"GRANULE/{self.level}_T{self.tile}_A{self.orbit:06d}_{self._began:{_STAMP}}"

    @property
    def strip(self) -> str:
        """The folder of the data strip."""
        return f"DATASTRIP/DS_{self._facility}_{self.made:{_STAMP}}_S{self._began:{_STAMP}}"

    @property
    def metadata(self) -> str:
        """The file that describes the product."""
        return f"MTD_MSI{self.level}.xml"

    @property
    def stem(self) -> str:
        """What the names of its images begin with."""
        prefix = "L2A_" if self.level == "L2A" and self.baseline < "0207" else ""
        return f"{prefix}T{self.tile}_{self.sensed:{_STAMP}}"


@cache
def grid(tile: str) -> Grid:
    """Where a tile lies, from its name (MGRS; corners are multiples of 60 m, its square of 100 km inside)."""
    zone, band, column, row = int(tile[:2]), tile[2], tile[3], tile[4]
    columns = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")[zone % 3]
    rows = "ABCDEFGHJKLMNPQRSTUV" if zone % 2 else "FGHJKLMNPQRSTUVABCDE"
    south = band < "N"
    # Rows repeat each 2,000 km: the band of latitude says which is meant. A degree has some 111 km.
    least = ("CDEFGHJKLMNPQRSTUVWX".index(band) * 8 - 80) * 110_500 + (10_000_000 if south else 0) - 100_000
    bottom = rows.index(row) * 100_000
    bottom += -(-(least - bottom) // 2_000_000) * 2_000_000 if bottom < least else 0
    left = (columns.index(column) + 1) * 100_000
    return Grid((32700 if south else 32600) + zone, left // 60 * 60, -(-(bottom + 100_000) // 60) * 60)


@cache
def _ring(place: Grid, cut: tuple[float, float] | None) -> tuple[tuple[float, float], ...]:
    from pyproj import Transformer

    corner = ((1.0, 1.0),) if cut is None else ((1.0, cut[1]), (cut[0], 1.0))
    shares = ((0.0, 0.0), (1.0, 0.0), *corner, (0.0, 1.0), (0.0, 0.0))
    to_degrees = Transformer.from_crs(place.epsg, 4326, always_xy=True)
    ring = (
        to_degrees.transform(place.left + across * images.WIDTH, place.top - down * images.WIDTH)
        for across, down in shares
    )
    return tuple((round(longitude, 9), round(latitude, 9)) for longitude, latitude in ring)


@cache
def files(scene: Scene) -> Mapping[str, Content]:
    """All files of a product by their path in its folder; nothing is made yet."""
    table: dict[str, Content] = {}
    for path, kind, make in _listed(scene):
        table[path] = Made(path.rpartition("/")[2], kind, scene.made, make)
    listed = dict(table)

    def manifest() -> bytes:
        return _manifest(scene, listed)

    table["manifest.safe"] = Made("manifest.safe", "text/xml", scene.made, manifest)
    # The quicklook is in the folder, and not in the manifest.
    name = f"{scene.name}-ql.jpg"
    table[name] = Made(name, "image/jpeg", scene.made, lambda: images.picture(scene.view, scene.pixels // 2))
    return table


@cache
def whole(scene: Scene) -> Content:
    """The product as one zip, its files stored as they are."""
    table = files(scene)
    members: list[tuple[str, list[Segment]]] = [
        (f"{scene.folder}/{path}", [Part(content)]) for path, content in sorted(table.items())
    ]
    return Segments(f"{scene.folder}.zip", "application/zip", scene.made, None, lambda: stored_zip(members))


_File = tuple[str, str, Callable[[], bytes]]


def _listed(scene: Scene) -> Iterator[_File]:
    """Path, media type and maker of each file that the manifest lists."""
    paths = list(_image_paths(scene))
    yield scene.metadata, "text/xml", lambda: _product_metadata(scene, [path for path, _, _ in paths])
    for name in ("INSPIRE.xml", "HTML/UserProduct_index.html", "HTML/UserProduct_index.xsl"):
        yield name, "text/xml", _text(scene, name)
    old = scene.level == "L2A" and scene.baseline <= "0207"
    yield f"{scene.strip}/MTD_DS.xml", "text/xml", _text(scene, "MTD_DS.xml")
    for check in () if old else (*_CHECKS, "RADIOMETRIC_QUALITY", "SENSOR_QUALITY"):
        yield f"{scene.strip}/QI_DATA/{check}.xml", "text/xml", _text(scene, check)
    auxiliary = () if old else ("AUX_ECMWFT", "AUX_CAMSFO")[: 2 if scene.baseline >= "0400" else 1]
    for name in auxiliary:
        yield f"{scene.granule}/AUX_DATA/{name}", "application/octet-stream", _text(scene, name)
    yield f"{scene.granule}/MTD_TL.xml", "text/xml", lambda: _tile_metadata(scene)
    offset = OFFSET if scene.baseline >= "0400" else 0
    for path, key, resolution in paths:
        yield path, _JP2, _image(scene, key, resolution, offset)
    yield from _quality(scene, old=old)


def _image_paths(scene: Scene) -> Iterator[tuple[str, str, int]]:
    """Path, key and resolution in metres of the bands."""
    folder = f"{scene.granule}/IMG_DATA"
    if scene.level == "L1C":
        for key in (*BANDS, "TCI"):
            yield f"{folder}/{scene.stem}_{key}.jp2", key, _RESOLUTION[key]
        return
    for resolution, keys in _LEVEL_2A.items():
        more = ("B01",) if resolution == 20 and scene.baseline >= "0400" else ()
        for key in (*more, *keys):
            yield f"{folder}/R{resolution}m/{scene.stem}_{key}_{resolution}m.jp2", key, resolution


def _quality(scene: Scene, *, old: bool) -> Iterator[_File]:
    """What lies in ``QI_DATA``."""
    folder = f"{scene.granule}/QI_DATA"
    checks = [*_CHECKS, "SENSOR_QUALITY"]
    if scene.level == "L2A":
        checks.append("RADIOMETRIC_QUALITY")
    for check in () if old else checks:
        yield f"{folder}/{check}.xml", "text/xml", _text(scene, check)
    if scene.baseline < "0400":
        names = ["MSK_CLOUDS_B00"]
        names += [
            f"MSK_{kind}_{band}"
            for kind in ("DEFECT", "DETFOO", "NODATA", "SATURA", "TECQUA")
            for band in BANDS
        ]
        for name in names:
            yield f"{folder}/{name}.gml", "text/xml", _text(scene, name)
    else:
        yield f"{folder}/MSK_CLASSI_B00.jp2", _JP2, _image(scene, "CLASSI", 60, 0)
        for key in ("DETFOO", "QUALIT"):
            for band in BANDS:
                path = f"{folder}/MSK_{key}_{band}.jp2"
                yield path, _JP2, _image(scene, key, _RESOLUTION[band], 0)
    if scene.level == "L2A":
        for key in ("CLDPRB", "SNWPRB"):
            for resolution in (20, 60):
                name = f"MSK_{key}_{resolution}m" if scene.baseline > "0207" else ""
                if scene.baseline < "0207":
                    name = f"{scene.stem}_{key[:3]}_{resolution}m"
                if name:
                    path = f"{folder}/{name}.jp2"
                    yield path, _JP2, _image(scene, key, resolution, 0)
    yield f"{folder}/{scene.stem}_PVI.jp2", _JP2, _image(scene, "TCI", 60, 0)


def _image(scene: Scene, key: str, resolution: int, offset: int) -> Callable[[], bytes]:
    return lambda: images.image(scene.view, key, scene.pixels * 10 // resolution, offset)


def _text(scene: Scene, name: str) -> Callable[[], bytes]:
    """A file that nobody reads, and that is another in each product."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<report name="{name}" product="{scene.name}"/>\n'
    return text.encode


_XML = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'


def _product_metadata(scene: Scene, paths: list[str]) -> bytes:
    level_2 = scene.level == "L2A"
    space = f"https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{scene.level[1:]}.xsd"
    root = f"n1:Level-{scene.level[1:]}_User_Product"
    moment = f"{scene.sensed:%Y-%m-%dT%H:%M:%S}.024Z"
    satellite = f"Sentinel-{scene.mission[1:]}"
    granule = (
        f"{scene.mission}_OPER_MSI_{scene.level}_TL_{scene._facility}_{scene.made:{_STAMP}}"  # noqa: SLF001
        f"_A{scene.orbit:06d}_T{scene.tile}_N{scene.version}"
    )
    tag = "IMAGE_FILE_2A" if level_2 and scene.baseline < "0207" else "IMAGE_FILE"
    listed = "".join(f"<{tag}>{path.removesuffix('.jp2')}</{tag}>\n" for path in paths)
    text = (
        f'{_XML}<{root} xmlns:n1="{space}">\n<n1:General_Info>\n<Product_Info>\n'
        f"<PRODUCT_START_TIME>{moment}</PRODUCT_START_TIME>\n<PRODUCT_STOP_TIME>{moment}</PRODUCT_STOP_TIME>\n"
        f"<PRODUCT_URI>{scene.folder}</PRODUCT_URI>\n<PROCESSING_LEVEL>Level-{scene.level[1:]}</PROCESSING_LEVEL>\n"
        f"<PRODUCT_TYPE>{scene.kind}</PRODUCT_TYPE>\n<PROCESSING_BASELINE>{scene.version}</PROCESSING_BASELINE>\n"
        f"<GENERATION_TIME>{scene.made:%Y-%m-%dT%H:%M:%S}.000000Z</GENERATION_TIME>\n"
        f'<Datatake datatakeIdentifier="{scene.datatake}">\n<SPACECRAFT_NAME>{satellite}</SPACECRAFT_NAME>\n'
        f"<DATATAKE_TYPE>INS-NOBS</DATATAKE_TYPE>\n<DATATAKE_SENSING_START>{moment}</DATATAKE_SENSING_START>\n"
        f"<SENSING_ORBIT_NUMBER>{scene.relative_orbit}</SENSING_ORBIT_NUMBER>\n"
        "<SENSING_ORBIT_DIRECTION>DESCENDING</SENSING_ORBIT_DIRECTION>\n</Datatake>\n"
        '<Query_Options completeSingleTile="true"><PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT>'
        "</Query_Options>\n"
        f'<Product_Organisation>\n<Granule_List>\n<Granule datastripIdentifier="{scene.datastrip}"'
        f' granuleIdentifier="{granule}" imageFormat="JPEG2000">\n{listed}</Granule>\n</Granule_List>\n'
        "</Product_Organisation>\n</Product_Info>\n<Product_Image_Characteristics>\n"
        "<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>\n"
        "<Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>"
        "<SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>\n"
        f"{_scaling(scene)}</Product_Image_Characteristics>\n</n1:General_Info>\n"
        f"<n1:Geometric_Info><Product_Footprint><Product_Footprint><Global_Footprint><EXT_POS_LIST>"
        f"{_positions(scene)}</EXT_POS_LIST></Global_Footprint></Product_Footprint></Product_Footprint>"
        "</n1:Geometric_Info>\n<n1:Quality_Indicators_Info>\n"
        f"<Cloud_Coverage_Assessment>{scene.cloud_cover}</Cloud_Coverage_Assessment>\n"
        f"</n1:Quality_Indicators_Info>\n</{root}>\n"
    )
    return text.encode()


def _scaling(scene: Scene) -> str:
    """What numbers have to be divided by, and what is added before."""
    offset = scene.baseline >= "0400"
    if scene.level == "L1C":
        text = '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>\n'
        names = ("Radiometric_Offset_List", "RADIO_ADD_OFFSET")
    else:
        old = scene.baseline < "0207"
        prefix = "L2A_" if old else ""
        values = "L1C_L2A_Quantification_Values_List" if old else "QUANTIFICATION_VALUES_LIST"
        units = (("BOA", "none", "10000"), ("AOT", "none", "1000.0"), ("WVP", "cm", "1000.0"))
        tags = ((f"{prefix}{name}_QUANTIFICATION_VALUE", unit, value) for name, unit, value in units)
        lines = "".join(f'<{tag} unit="{unit}">{value}</{tag}>\n' for tag, unit, value in tags)
        text = f"<{values}>\n{lines}</{values}>\n"
        names = ("BOA_ADD_OFFSET_VALUES_LIST", "BOA_ADD_OFFSET")
    if offset:
        values = "".join(
            f'<{names[1]} band_id="{number}">{-OFFSET}</{names[1]}>\n' for number in range(len(BANDS))
        )
        text += f"<{names[0]}>\n{values}</{names[0]}>\n"
    physical = (f'bandId="{number}" physicalBand="{_short(band)}"' for number, band in enumerate(BANDS))
    entries = "".join(
        f"<Spectral_Information {ids}><RESOLUTION>{_RESOLUTION[band]}</RESOLUTION></Spectral_Information>\n"
        for ids, band in zip(physical, BANDS, strict=True)
    )
    return f"{text}<Spectral_Information_List>\n{entries}</Spectral_Information_List>\n"


def _short(band: str) -> str:
    """``B1`` for ``B01``, as the list of spectra has it."""
    return f"B{band[1:].lstrip('0')}"


def _positions(scene: Scene) -> str:
    return " ".join(f"{latitude} {longitude}" for longitude, latitude in scene.footprint)


def _tile_metadata(scene: Scene) -> bytes:
    place = grid(scene.tile)
    sizes = ""
    for resolution in (10, 20, 60):
        count = scene.pixels * 10 // resolution
        step = images.WIDTH // count
        sizes += f'<Size resolution="{resolution}"><NROWS>{count}</NROWS><NCOLS>{count}</NCOLS></Size>\n'
        sizes += (
            f'<Geoposition resolution="{resolution}"><ULX>{place.left}</ULX><ULY>{place.top}</ULY>'
            f"<XDIM>{step}</XDIM><YDIM>-{step}</YDIM></Geoposition>\n"
        )
    zone = f"{place.epsg % 100}{'N' if place.epsg < 32700 else 'S'}"
    level = scene.level[1:]
    text = (
        f'{_XML}<n1:Level-{level}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/'
        f'S2_PDI_Level-{level}_Tile_Metadata.xsd">\n<n1:General_Info>\n'
        f"<DATASTRIP_ID>{scene.datastrip}</DATASTRIP_ID>\n"
        f"<SENSING_TIME>{scene._began:%Y-%m-%dT%H:%M:%S}.024Z</SENSING_TIME>\n</n1:General_Info>\n"  # noqa: SLF001
        "<n1:Geometric_Info>\n<Tile_Geocoding>\n"
        f"<HORIZONTAL_CS_NAME>WGS84 / UTM zone {zone}</HORIZONTAL_CS_NAME>\n"
        f"<HORIZONTAL_CS_CODE>EPSG:{place.epsg}</HORIZONTAL_CS_CODE>\n{sizes}</Tile_Geocoding>\n"
        "</n1:Geometric_Info>\n<n1:Quality_Indicators_Info><Image_Content_QI>"
        f"<CLOUDY_PIXEL_PERCENTAGE>{scene.cloud_cover}</CLOUDY_PIXEL_PERCENTAGE>"
        f"</Image_Content_QI></n1:Quality_Indicators_Info>\n</n1:Level-{level}_Tile_ID>\n"
    )
    return text.encode()


def _manifest(scene: Scene, listed: Mapping[str, Content]) -> bytes:
    entries = []
    for number, (path, content) in enumerate(listed.items()):
        name, digest = _digest(scene, content)
        entries.append(
            f'<dataObject ID="file{number}">'
            f'<byteStream mimeType="{content.media_type}" size="{content.size}">'
            f'<fileLocation locatorType="URL" href="{escape(_href(scene, path))}"/>'
            f'<checksum checksumName="{name}">{digest}</checksum></byteStream></dataObject>\n'
        )
    kind = f"archive_{scene.level.lower()}_user_product"
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1"'
        ' xmlns:safe="http://www.esa.int/safe/sentinel/1.1" xmlns:gml="http://www.opengis.net/gml"'
        f' version="esa/safe/sentinel/1.1/sentinel-2/msi/{kind}">\n<metadataSection>\n'
        '<metadataObject ID="acquisitionPeriod" classification="DESCRIPTION" category="DMD"><metadataWrap>'
        f"<xmlData><safe:acquisitionPeriod><safe:startTime>{scene.sensed:%Y-%m-%dT%H:%M:%S}.024Z</safe:startTime>"
        "</safe:acquisitionPeriod></xmlData></metadataWrap></metadataObject>\n"
        '<metadataObject ID="platform" classification="DESCRIPTION" category="DMD"><metadataWrap>'
        f"<xmlData><safe:platform><safe:familyName>SENTINEL</safe:familyName><safe:number>{scene.mission[1:]}</safe:number>"
        "</safe:platform></xmlData></metadataWrap></metadataObject>\n"
        '<metadataObject ID="measurementFrameSet" classification="DESCRIPTION" category="DMD"><metadataWrap>'
        f"<xmlData><safe:frameSet><safe:footPrint><gml:coordinates>{_positions(scene)}</gml:coordinates>"
        "</safe:footPrint></safe:frameSet></xmlData></metadataWrap></metadataObject>\n</metadataSection>\n"
        f"<dataObjectSection>\n{''.join(entries)}</dataObjectSection>\n</xfdu:XFDU>\n"
    )
    return text.encode()


def _href(scene: Scene, path: str) -> str:
    """A path as the manifest has it, which in two old baselines is not where the file lies."""
    if scene.level == "L2A" and scene.baseline == "0207" and "/" in path:
        return path
    if (
        scene.level == "L2A"
        and scene.baseline == "0208"
        and scene.made.month < 6
        and path.startswith(("G", "D"))
    ):
        # What was made in May 2018 names the disk of the processor.
        return f"/dpc/app/launch_1/.{scene.datastrip}/{path}"
    return f"./{path}"


def _digest(scene: Scene, content: Content) -> tuple[str, str]:
    """MD5; in newer baselines SHA3-256 for images, and in the newest for all files and in capitals."""
    newest = scene.baseline > "0500"
    if newest or (scene.baseline == "0500" and content.media_type == _JP2):
        digest = hashlib.sha3_256(content.read(0, content.size)).hexdigest()
        return "SHA3-256", digest.upper() if newest else digest
    return "MD5", content.md5
