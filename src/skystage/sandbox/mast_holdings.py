"""What MAST holds in a box: rows of observations, rows of their products, and the files behind these.

Rows are served as they are given, column by column; only a size that is not given is taken from the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from skystage.sandbox.buckets import Bucket
from skystage.sandbox.files import Content

Row: TypeAlias = dict[str, Any]

BUCKET = "stpubdata"
OBSERVATION_FIELDS: Mapping[str, str] = {
    "dataproduct_type": "string",
    "calib_level": "int",
    "obs_collection": "string",
    "obs_id": "string",
    "target_name": "string",
    "s_ra": "float",
    "s_dec": "float",
    "t_min": "float",
    "t_max": "float",
    "t_exptime": "float",
    "wavelength_region": "string",
    "filters": "string",
    "em_min": "float",
    "em_max": "float",
    "target_classification": "string",
    "obs_title": "string",
    "t_obs_release": "float",
    "instrument_name": "string",
    "proposal_pi": "string",
    "proposal_id": "string",
    "proposal_type": "string",
    "project": "string",
    "sequence_number": "int",
    "provenance_name": "string",
    "s_region": "string",
    "jpegURL": "string",
    "dataURL": "string",
    "dataRights": "string",
    "mtFlag": "boolean",
    "srcDen": "float",
    "intentType": "string",
    "obsid": "string",
    "objID": "string",
}
"""Columns of an observation, in their order, and the types that MAST gives with them."""
PRODUCT_FIELDS: Mapping[str, str] = {
    "obsID": "string",
    "obs_collection": "string",
    "dataproduct_type": "string",
    "obs_id": "string",
    "description": "string",
    "type": "string",
    "dataURI": "string",
    "productType": "string",
    "productGroupDescription": "string",
    "productSubGroupDescription": "string",
    "productDocumentationURL": "string",
    "project": "string",
    "prvversion": "string",
    "proposal_id": "string",
    "productFilename": "string",
    "size": "int",
    "parent_obsid": "string",
    "dataRights": "string",
    "calib_level": "int",
}
"""The same of a product."""


@dataclass(slots=True)
class File:
    """What is behind a product's address."""

    content: Content | None
    """None: the row is there, the file is not."""
    path: str | None = None
    """Where `path_lookup` says that it lies in the cloud, from a slash on."""
    stored: bool = True
    """Whether it does."""
    exclusive: bool = False
    """Whether it is for the proposal's own people still."""
    measured: bool = True
    """Whether its length is announced: of what is put together on the fly, it is not."""

    @property
    def key(self) -> str | None:
        """The key in the bucket: what is by others lies elsewhere than the path says."""
        return self.path.replace("/hlsp_local/public/", "/mast/")[1:] if self.path else None


@dataclass(slots=True)
class Holdings:
    """Observations and products by ``obsid``, files by ``dataURI``."""

    observations: dict[str, Row] = field(default_factory=dict)
    products: dict[str, list[Row]] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    positions: dict[str, list[tuple[str, float, float]]] = field(default_factory=dict)
    """Who knows a name (in small letters), and its right ascension and declination, degrees."""
    config: dict[str, Any] = field(default_factory=dict)
    """Descriptions of the columns of an observation as recorded."""
    observation_fields: dict[str, str] = field(default_factory=lambda: dict(OBSERVATION_FIELDS))
    product_fields: dict[str, str] = field(default_factory=lambda: dict(PRODUCT_FIELDS))
    mission_columns: list[Mapping[str, Any]] | None = None
    """The columns of the search for Hubble's data as recorded."""

    def add(self, row: Row) -> None:
        """Add an observation."""
        self.observations[str(row["obsid"])] = row

    def add_product(self, row: Row, file: File) -> None:
        """Add a product to the observation that its row names, and the file if it is a new one."""
        self.products.setdefault(str(row["obsID"]), []).append(row)
        self.files.setdefault(row["dataURI"], file)

    def products_of(self, obsid: str) -> Iterator[Row]:
        """The products of an observation, with their sizes."""
        for row in self.products.get(obsid, ()):
            content = self.files[row["dataURI"]].content
            given = row.get("size") is not None or content is None
            yield row if given else {**row, "size": content.size if content else None}

    def bucket(self) -> Bucket:
        """What of it lies in the public bucket."""
        stored = {
            file.key: file.content
            for file in self.files.values()
            if file.key and file.stored and file.content is not None
        }
        return Bucket(BUCKET, "us-east-1", stored)
