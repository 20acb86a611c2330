"""Other bodies: their coordinate systems, in tables and files of footprints."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import skystage
from skystage import aoi, bodies, cli, items, plan, query
from skystage.archives.stac_items import granule
from skystage.errors import AreaError, QueryError, SkystageError
from skystage.model import Asset, Granule, Query, Source, from_iso

BOX = {"type": "Polygon", "coordinates": [[[-59, 3], [-58, 3], [-58, 4], [-59, 4], [-59, 3]]]}
ONE = Granule(
    archive="stac",
    collection="kaguya",
    id="TC1",
    native_id="TC1",
    start=from_iso("2009-06-07T14:42:56"),
    stop=from_iso("2009-06-07T14:43:26"),
    body="moon",
    geometry=BOX,
    stack="kaguya",
    properties={"gsd": 7.65, "view:off_nadir": 1},
    assets=(
        Asset(
            key="image",
            path="stac/kaguya/TC1/x.tif",
            size=7,
            checksums={"md5": "0" * 32},
            media_type="image/tiff",
            sources=(Source(href="https://b.s3-us-west-2.amazonaws.com/x.tif"), Source(href="s3://b/x.tif")),
        ),
        Asset(key="nowhere", path="stac/kaguya/TC1/y.tif"),
        Asset(key="data", path="stac/kaguya/TC1/z.bin", sources=(Source(href="https://x.org/z.bin"),)),
    ),
)


def test_each_body_has_the_sphere_that_its_coordinates_are_on():
    assert bodies.crs("earth") == "OGC:CRS84"
    assert bodies.crs("moon") == "IAU_2015:30100"
    assert bodies.crs("mars") == "IAU_2015:49900"
    assert bodies.crs("europa") == "IAU_2015:50200"
    assert (bodies.crs("sky"), bodies.crs("krypton")) == (None, None)
    assert (bodies.radius("europa"), bodies.radius("sky"), bodies.radius("earth")) == (1560800.0, None, None)
    assert bodies.names()[0] == "earth"
    assert {"moon", "mars", "mercury", "venus", "io", "ceres"} <= set(bodies.names())


def test_areas_on_any_known_body_have_a_size():
    whole = {"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [90, 90], [0, 90], [0, 0]]]}
    assert aoi.area_m2(whole, "europa") == pytest.approx(3.14159265 / 2 * 1560800**2)
    with pytest.raises(AreaError, match="body: 'krypton' has no known size"):
        aoi.area_m2(whole, "krypton")


def test_a_body_is_asked_for_by_name():
    asked = {"archive": "stac", "url": "x"}
    assert query.parse({**asked, "body": "Europa"}).criteria["body"] == "europa"
    with pytest.raises(QueryError, match="body: got 'mon'.*did you mean 'moon'"):
        query.parse({**asked, "body": "mon"})


@pytest.mark.parametrize("area", [[-60, 2, -57, 5], [300, 2, 303, 5]])
def test_a_body_of_360_degrees_is_one_of_twice_180(area):
    asked = query.parse({"archive": "stac", "url": "x", "body": "moon", "area": area})
    assert aoi.intersects(asked.area, BOX)
    beyond = {"type": "Polygon", "coordinates": [[[x + 360, y] for x, y in BOX["coordinates"][0]]]}
    assert aoi.intersects(asked.area, beyond)
    said = {"id": "i", "geometry": beyond, "properties": {"ssys:targets": ["Moon"]}}
    assert items.bbox(granule(said, "", collection="c").geometry) == [-59, 3, -58, 4]


def test_granules_are_a_geodataframe_in_the_system_of_their_body(tmp_path):
    pytest.importorskip("geopandas")
    frame = skystage.geodataframe([ONE, replace(ONE, id="TC2", geometry=None, assets=())])
    assert frame.crs == "IAU_2015:30100"
    assert list(frame["id"]) == ["TC1", "TC2"]
    assert frame.geometry[0].bounds == (-59, 3, -58, 4)
    assert frame.geometry[1] is None
    assert frame["properties.gsd"][0] == 7.65
    assert frame["assets.image.href"][0] == "https://b.s3-us-west-2.amazonaws.com/x.tif"
    assert frame["assets.image.size"][0] == 7
    assert frame["assets.nowhere.href"].isna().all()
    made = plan.write(tmp_path / "plan", query=Query(archive="stac"), granules=[ONE], hits=1, received=1)
    assert len(skystage.geodataframe(made)) == 1
    assert skystage.geodataframe([replace(ONE, body="sky")]).crs is None
    empty = skystage.geodataframe([])
    assert (len(empty), empty.crs) == (0, "OGC:CRS84")
    with pytest.raises(SkystageError, match="footprints on earth, moon: .*filter: {body: NAME}"):
        skystage.geodataframe([ONE, replace(ONE, body="earth")])


def test_an_item_of_a_search_says_where_its_files_lie():
    import pystac

    found = items.found_item(ONE)
    assert list(found["assets"]) == ["image", "data"]
    assert found["assets"]["image"] == {
        "href": "https://b.s3-us-west-2.amazonaws.com/x.tif",
        "roles": ["image"],
        "file:size": 7,
        "file:checksum": "d50110" + "0" * 32,
        "type": "image/tiff",
        "alternate": {"source-2": {"href": "s3://b/x.tif"}},
    }
    assert pystac.Item.from_dict(found).properties["ssys:targets"] == ["Moon"]


@pytest.mark.parametrize(
    ("body", "system"), [("earth", "OGC:CRS84"), ("moon", "IAU_2015:30100"), ("sky", None)]
)
def test_a_search_is_geoparquet_in_the_system_of_its_body(tmp_path, capsys, body, system):
    geopandas = pytest.importorskip("geopandas")
    pytest.importorskip("rustac")
    pytest.importorskip("pyarrow")
    said = {**items.found_item(replace(ONE, body=body)), "collection": "kaguya"}
    (tmp_path / "item.json").write_text(json.dumps(said))
    (tmp_path / "query.json").write_text(json.dumps({"archive": "stac", "url": str(tmp_path / "item.json")}))
    out = tmp_path / "items.parquet"
    assert cli.run(["search", str(tmp_path / "query.json"), "-o", str(out)]) == 0, capsys.readouterr().err
    frame = geopandas.read_parquet(out)
    assert list(frame["id"]) == ["TC1"]
    assert frame.crs == system
    assert frame.geometry[0].bounds == (-59, 3, -58, 4)
    assert frame["assets"][0]["image"]["href"] == "https://b.s3-us-west-2.amazonaws.com/x.tif"


@pytest.mark.parametrize(
    ("geometry", "bbox"),
    [
        (None, None),
        ({"type": "Polygon", "coordinates": []}, None),
        ({"type": "MultiPolygon", "coordinates": [[[]]]}, None),
        (
            {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}]},
            [1, 2, 1, 2],
        ),
    ],
)
def test_items_of_any_footprint_or_none_are_geoparquet(tmp_path, capsys, geometry, bbox):
    geopandas = pytest.importorskip("geopandas")
    pytest.importorskip("rustac")
    pytest.importorskip("pyarrow")
    placed = {**items.found_item(ONE), "collection": "kaguya"}
    other = {**placed, "id": "TC2", "geometry": geometry}
    found = granule(other, "https://x.org/", collection="kaguya")
    assert items.found_item(found).get("bbox") == bbox
    said = {"type": "FeatureCollection", "features": [placed, other]}
    (tmp_path / "items.json").write_text(json.dumps(said))
    (tmp_path / "query.json").write_text(json.dumps({"archive": "stac", "url": str(tmp_path / "items.json")}))
    out = tmp_path / "items.parquet"
    assert cli.run(["search", str(tmp_path / "query.json"), "-o", str(out)]) == 0, capsys.readouterr().err
    frame = geopandas.read_parquet(out).set_index("id")
    assert frame.crs == "IAU_2015:30100"
    assert list(frame.geometry.is_empty[["TC1", "TC2"]]) == [False, bbox is None]


def test_a_file_of_several_bodies_is_refused(tmp_path):
    with pytest.raises(SkystageError, match="one table has one coordinate system"):
        items.write_parquet(tmp_path / "x.parquet", [], {"moon", "mars"})
    assert not (tmp_path / "x.parquet").exists()


def test_a_collection_says_the_body_of_its_items(tmp_path, access):
    from skystage import archives

    def document(name: str, **said: object) -> None:
        (tmp_path / name).write_text(json.dumps({"stac_version": "1.0.0", "links": [], "assets": {}, **said}))

    def link(rel: str, href: str) -> dict[str, str]:
        return {"rel": rel, "href": href}

    document(
        "root.json", type="Catalog", id="root", links=[link("child", "europa.json"), link("item", "c.json")]
    )
    document(
        "europa.json",
        type="Collection",
        id="europa",
        links=[link("item", "a.json"), link("item", "b.json")],
        **{"ssys:targets": ["Europa"]},
    )
    for name, properties in (("a", {}), ("b", {"ssys:targets": ["Io"]}), ("c", {})):
        document(f"{name}.json", type="Feature", id=name, geometry=None, properties=properties)
    asked = query.parse({"archive": "stac", "url": str(tmp_path / "root.json")})
    found = {one.id: one.body for one in archives.get("stac").search(asked, access)}
    assert found == {"a": "europa", "b": "io", "c": "earth"}


def test_recorded_items_of_other_bodies_are_placed_there(recordings):
    pytest.importorskip("geopandas")
    said = json.loads((recordings / "astro" / "stac-recorded" / "ssys_item.json").read_text())
    found = granule(said, "https://x.org/item.json", collection=said["collection"])
    assert found.body == "europa"
    assert skystage.geodataframe([found]).crs == "IAU_2015:50200"
    folder = recordings / "astro" / "usgs-stac-kaguya"
    kaguya = [json.loads(path.read_text()) for path in sorted(folder.glob("*/item.json"))]
    frame = skystage.geodataframe(
        [granule(one, "https://x.org/", collection=one["collection"]) for one in kaguya]
    )
    assert frame.crs == "IAU_2015:30100"
    assert len(frame) == 9
    assert all(frame.geometry.is_valid)
    # The footprint's system is the one that the image's is a map of.
    assert kaguya[0]["properties"]["proj:projjson"]["base_crs"]["id"]["code"] == 30100
