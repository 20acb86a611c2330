"""Stand-ins for products: small, valid for their kind, and the same for the same name each time.

A product zip holds what a reader looks for first: ``manifest.safe`` with sizes and MD5s, an
annotation, a measurement TIFF. Its size follows from the name alone, so that a catalogue of
thousands loads at once and nothing is built before somebody asks for it.
"""

from __future__ import annotations

import binascii
import hashlib
import io
import itertools
import re
import struct
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from functools import cache

from skystage.sandbox.ephemeris import SATELLITES, corners, state
from skystage.sandbox.files import Content, Made, Noise, Segment, Segments

PAYLOAD_SIZE = 48_000
"""Bytes of a product zip, give or take 4 kB by its name."""
SMALLEST_PAYLOAD = 16_384
BURST_SIZE = 24_000
"""Bytes of a single TIFF or HDF5 file."""

_SPREAD = 4096
_MANIFEST_SIZE = 4096
_ANNOTATION_SIZE = 2048
_TIFF_HEADER_SIZE = 256
_ROW = 256
_MODIFIED = datetime(2021, 3, 1, 12, 0, 0, tzinfo=UTC)
_SCENE = re.compile(
    r"(S1[A-D])_(\w\w)_(\w{3})(\w)_1S(\w\w)_(\d{8}T\d{6})_(\d{8}T\d{6})_(\d{6})_(\w{6})_(\w{4})"
)


def payload(name: str, size: int = PAYLOAD_SIZE) -> Content | None:
    """The stand-in for a file of that name, by its suffix; None for kinds that there is none for."""
    if name.endswith(".zip"):
        return product_zip(name, size)
    if name.endswith((".tif", ".tiff")):
        return _tiff_file(name)
    if name.endswith(".xml"):
        return _xml_file(name)
    if name.endswith(".h5"):
        return _hdf_file(name)
    return None


def product_size(name: str, size: int = PAYLOAD_SIZE) -> int:
    """Bytes of the zip of that name."""
    return size + zlib.crc32(name.encode()) % _SPREAD


def product_zip(name: str, size: int = PAYLOAD_SIZE) -> Content:
    """A product in SAFE form, zipped without compression."""
    total = product_size(name, size)
    return Segments(name, "application/zip", _MODIFIED, total, lambda: stored_zip(_members(name, total)))


def repacked_zip(name: str, size: int = PAYLOAD_SIZE) -> Content:
    """The same product as another archive zips it: the same files in another order, some compressed."""
    total = product_size(name, size)

    def make() -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as file:
            for member, segments in reversed(_members(name, total)):
                entry = zipfile.ZipInfo(member, (2021, 3, 2, 12, 0, 0))
                if not member.endswith(".tiff"):
                    entry.compress_type = zipfile.ZIP_DEFLATED
                file.writestr(entry, b"".join(piece for one in segments for piece in _pieces(one)))
        return out.getvalue()

    return Made(name, "application/zip", _MODIFIED, make)


def _members(name: str, total: int) -> list[tuple[str, list[Segment]]]:
    """The files of a product whose zip without compression has `total` bytes."""
    scene = name.removesuffix(".zip")
    root = f"{scene}.SAFE"
    part = _part_name(scene)
    names = [f"{root}/manifest.safe", f"{root}/annotation/{part}.xml", f"{root}/measurement/{part}.tiff"]
    overhead = sum(30 + 46 + 2 * len(member) for member in names) + 22
    image = _tiff(scene, total - overhead - _MANIFEST_SIZE - _ANNOTATION_SIZE)
    annotation = _pad(_annotation(scene), _ANNOTATION_SIZE)
    listed: list[tuple[str, list[Segment]]] = [(names[1], [annotation]), (names[2], image)]
    manifest = _pad(_manifest(scene, root, listed), _MANIFEST_SIZE)
    match = _SCENE.fullmatch(scene)
    if match is not None:
        manifest = _named_after(manifest, int(match[10], 16))
    return [(names[0], [manifest]), *listed]


def _named_after(manifest: bytes, crc: int) -> bytes:
    """The manifest with a comment at its end that gives it the CRC in the product's name."""
    begin = manifest[:-12] + b"<!--"
    state = binascii.crc_hqx(begin, 0xFFFF)
    # Two bytes more, and the CRC can be any: which two, the table says. They must be letters too.
    before = _undo(_undo(crc, b">\n"), b"--")
    for first in itertools.product(_LETTERS, repeat=2):
        there = binascii.crc_hqx(bytes(first), state)
        last = (_two_bytes()[before] ^ there).to_bytes(2)
        if set(last) <= set(_LETTERS):
            return begin + bytes(first) + last + b"-->\n"
    raise AssertionError(crc)


_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _undo(crc: int, last: bytes) -> int:
    """The CRC before the two `last` bytes."""
    return _two_bytes()[crc] ^ int.from_bytes(last)


@cache
def _two_bytes() -> list[int]:
    """By CRC the two bytes, as a number, that give it from 0."""
    table = [0] * 65536
    for number in range(65536):
        table[binascii.crc_hqx(number.to_bytes(2), 0)] = number
    return table


def _part_name(scene: str) -> str:
    match = _SCENE.match(scene)
    if match is None:
        return "image"
    mission, mode, product, _, polarization, start, stop, orbit, take, _ = (
        text.lower() for text in match.groups()
    )
    channel = (
        {"v": "vv", "h": "hh"}[polarization[1]]
        if polarization[0] == "s"
        else f"{polarization[1]}{polarization[1]}"
    )
    return f"{mission}-{mode}1-{product}-{channel}-{start}-{stop}-{orbit}-{take}-001"


def stored_zip(members: list[tuple[str, list[Segment]]]) -> list[Segment]:
    """A zip archive, everything stored (APPNOTE 4.3)."""
    out: list[Segment] = []
    directory = b""
    at = 0
    for name, segments in members:
        checksum, length = 0, 0
        for segment in segments:
            for piece in _pieces(segment):
                checksum = zlib.crc32(piece, checksum)
                length += len(piece)
        # Version 2.0, no flags, stored, 2021-03-01 12:00.
        common = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0x6000, 0x5261, checksum, length, length, len(name), 0)
        header = b"PK\x03\x04" + common + name.encode()
        directory += (
            b"PK\x01\x02"
            + struct.pack("<H", 20)
            + common
            + struct.pack("<HHHII", 0, 0, 0, 0, at)
            + name.encode()
        )
        out += [header, *segments]
        at += len(header) + length
    count = len(members)
    out.append(directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), at, 0))
    return out


def _tiff(scene: str, size: int) -> list[Segment]:
    """One strip of complex 16-bit integers, as Sentinel-1 measurements are (TIFF 6.0)."""
    filler = size - _TIFF_HEADER_SIZE
    rows = filler // _ROW
    tags = [
        (256, 4, 1, _ROW // 4),  # width
        (257, 4, 1, rows),  # height
        (258, 3, 1, 32),  # bits a sample
        (259, 3, 1, 1),  # not compressed
        (262, 3, 1, 1),  # 0 is black
        (273, 4, 1, _TIFF_HEADER_SIZE),  # the strip's offset
        (277, 3, 1, 1),  # samples a pixel
        (278, 4, 1, rows),  # rows a strip
        (279, 4, 1, rows * _ROW),  # the strip's bytes
        (339, 3, 1, 5),  # complex integers
    ]
    header = (
        b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    )
    header += struct.pack("<I", 0)
    return [header.ljust(_TIFF_HEADER_SIZE, b"\0"), Noise(zlib.crc32(scene.encode()), filler)]


def _manifest(scene: str, root: str, files: list[tuple[str, list[Segment]]]) -> str:
    objects = []
    for number, (name, segments) in enumerate(files):
        digest, size = hashlib.md5(usedforsecurity=False), 0
        for segment in segments:
            for piece in _pieces(segment):
                digest.update(piece)
                size += len(piece)
        objects.append(
            f'<dataObject ID="file{number}"><byteStream mimeType="application/octet-stream" size="{size}">'
            f'<fileLocation locatorType="URL" href=".{name.removeprefix(root)}"/>'
            f'<checksum checksumName="MD5">{digest.hexdigest()}</checksum></byteStream></dataObject>'
        )
    body = "\n".join(objects)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:gml="http://www.opengis.net/gml"'
        ' xmlns:safe="http://www.esa.int/safe/sentinel-1.0"'
        ' xmlns:s1="http://www.esa.int/safe/sentinel-1.0/sentinel-1"'
        ' version="esa/safe/sentinel-1.0/sentinel-1/sar/level-1">\n'
        f"<!-- {scene}: stand-in of the skystage sandbox -->\n"
        f"{_metadata(scene)}"
        f"<dataObjectSection>\n{body}\n</dataObjectSection>\n</xfdu:XFDU>\n"
    )


def _metadata(scene: str) -> str:
    """The part of a manifest that says what the product is; empty for names of other products."""
    match = _SCENE.match(scene)
    if match is None or match[1] not in SATELLITES:
        return ""
    mission, mode, product, _, polarization, begin, end, orbit, take, _ = match.groups()
    satellite = SATELLITES[mission]
    start, stop = (datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=UTC) for text in (begin, end))
    # Names have whole seconds, the first line of a scene is a little later.
    start, stop = start + timedelta(milliseconds=250), stop + timedelta(milliseconds=250)
    edges = corners(satellite, start, stop)
    ring = [edges[key] for key in ("NEAR_START", "FAR_START", "FAR_END", "NEAR_END")]
    climbs = state(satellite, start)[1][2] > 0
    channels = {"S": polarization[1], "D": "VH" if polarization[1] == "V" else "HV"}[polarization[0]]
    times = [f"{moment:%Y-%m-%dT%H:%M:%S.%f}" for moment in (start, stop)]
    parts = {
        "platform": f"<safe:platform><safe:familyName>SENTINEL-1</safe:familyName><safe:number>{mission[2]}"
        "</safe:number><safe:instrument><safe:extension><s1:instrumentMode>"
        f"<s1:mode>{mode}</s1:mode></s1:instrumentMode></safe:extension></safe:instrument></safe:platform>",
        "measurementOrbitReference": f'<safe:orbitReference><safe:orbitNumber type="start">{int(orbit)}'
        '</safe:orbitNumber><safe:relativeOrbitNumber type="start">'
        f"{satellite.relative(int(orbit))}</safe:relativeOrbitNumber><safe:extension><s1:orbitProperties>"
        f"<s1:pass>{'ASCENDING' if climbs else 'DESCENDING'}</s1:pass></s1:orbitProperties></safe:extension>"
        "</safe:orbitReference>",
        "generalProductInformation": "<s1:standAloneProductInformation>"
        f"<s1:missionDataTakeID>{int(take, 16)}</s1:missionDataTakeID>"
        + "".join(
            f"<s1:transmitterReceiverPolarisation>{polarization[1]}{channel}"
            "</s1:transmitterReceiverPolarisation>"
            for channel in channels
        )
        + f"<s1:productType>{product}</s1:productType></s1:standAloneProductInformation>",
        "acquisitionPeriod": f"<safe:acquisitionPeriod><safe:startTime>{times[0]}</safe:startTime>"
        f"<safe:stopTime>{times[1]}</safe:stopTime></safe:acquisitionPeriod>",
        "measurementFrameSet": "<safe:frameSet><safe:frame><safe:footPrint><gml:coordinates>"
        + " ".join(f"{latitude:.6f},{longitude:.6f}" for longitude, latitude in ring)
        + "</gml:coordinates></safe:footPrint></safe:frame></safe:frameSet>",
    }
    objects = "\n".join(
        f'<metadataObject ID="{name}"><metadataWrap><xmlData>{body}</xmlData></metadataWrap></metadataObject>'
        for name, body in parts.items()
    )
    return f"<metadataSection>\n{objects}\n</metadataSection>\n"


def _annotation(scene: str) -> str:
    match = _SCENE.match(scene)
    if match is None:
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<product><name>{scene}</name></product>\n'
    mission, mode, product, _, polarization, start, stop, orbit, take, _ = match.groups()
    first, last = (datetime.strptime(text, "%Y%m%dT%H%M%S").isoformat() for text in (start, stop))  # noqa: DTZ007
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<product><adsHeader>'
        f"<missionId>{mission}</missionId><productType>{product}</productType>"
        f"<polarisation>{polarization[1]}{polarization[1]}</polarisation><mode>{mode}</mode><swath>{mode}1</swath>"
        f"<startTime>{first}.000000</startTime><stopTime>{last}.000000</stopTime>"
        f"<absoluteOrbitNumber>{int(orbit)}</absoluteOrbitNumber>"
        f"<missionDataTakeId>{int(take, 16)}</missionDataTakeId>"
        "<imageNumber>001</imageNumber></adsHeader></product>\n"
    )


def _pad(text: str, size: int) -> bytes:
    return text.encode().ljust(size, b"\n")


def _pieces(segment: Segment) -> list[bytes] | map[bytes]:
    if isinstance(segment, bytes):
        return [segment]
    step = 1 << 16
    return map(lambda at: segment.read(at, min(at + step, segment.length)), range(0, segment.length, step))  # noqa: C417


def _tiff_file(name: str) -> Content:
    return Segments(name, "image/tiff", _MODIFIED, BURST_SIZE, lambda: _tiff(name, BURST_SIZE))


def _xml_file(name: str) -> Content:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<metadata><name>{name}</name></metadata>\n'.encode()
    return Segments(name, "application/xml", _MODIFIED, len(text), lambda: [text])


def _hdf_file(name: str) -> Content:
    signature = b"\x89HDF\r\n\x1a\n".ljust(_ROW, b"\0")
    noise = Noise(zlib.crc32(name.encode()), BURST_SIZE - _ROW)
    return Segments(name, "application/x-hdf5", _MODIFIED, BURST_SIZE, lambda: [signature, noise])
