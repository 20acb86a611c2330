"""Sentinel-2 products in the sandbox whose files are as large as the real ones, or a share of them.

The sandbox makes true images, which are 30 times as coarse. Where bytes are what is measured, noise does as
well, and is made faster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from skystage.sandbox import Sandbox, sentinel2_images
from skystage.sandbox.sentinel2 import Scene
from skystage.sandbox.sentinel2_images import View

PIXELS = 360
"""Along each side of a 10 m band, which here only says which resolution is meant; used nowhere else, so that
nobody takes these products for true ones."""
BAND = 106_700_000
"""Bytes of a band at 10 m: one of a product of 925 MB."""
SCL = 1_900_000
"""Bytes of its scene classification at 20 m."""
MASK = 50_000
_START = b"\0\0\0\x0cjP  \r\n\x87\n"
"""The first box of every JPEG 2000 file (ISO/IEC 15444-1, I.5.1)."""


@contextmanager
def products(box: Sandbox, count: int, share: float) -> Iterator[list[Scene]]:
    """Let a sandbox that is not yet open have that many products of level 2A, and no others.

    Parameters
    ----------
    share
        The size of the bands, as a part of the real one; scene classifications have their real size.
    """
    scenes = box._world.catalogue.optical  # noqa: SLF001
    chosen = [one for one in scenes if (one.level, one.baseline, one.online) == ("L2A", "0500", True)][:count]
    scenes[:] = [replace(one, pixels=PIXELS) for one in chosen]

    def image(view: View, key: str, size: int, offset: int) -> bytes:
        del offset
        larger = size / PIXELS
        length = MASK
        if key == "SCL":
            length = int(SCL * (2 * larger) ** 2)
        elif key in (*sentinel2_images.BANDS, "TCI"):
            length = int(BAND * share * larger**2)
        # Of all but the classification the products share their bytes: only that is looked at.
        seed = f"{key} {size} {view.grid} {view.sensing if key == 'SCL' else ''}"
        noise = hashlib.shake_128(seed.encode()).digest(min(length, 1 << 22))
        return (_START + noise * (length // len(noise) + 1))[:length]

    true = sentinel2_images.image
    sentinel2_images.image = image
    try:
        yield list(scenes)
    finally:
        sentinel2_images.image = true
