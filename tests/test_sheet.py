"""The contact sheet: each product once, in time order, as its bands look."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skystage import cli
from skystage import plan as plans
from skystage.derive import sheet
from skystage.derive.bands import Options, extract
from skystage.derive.sentinel2 import COLOURS
from skystage.derive.sheet import EMPTY, GAP, HEAD, SIDE, Shot, draw, of_folder, of_plan
from skystage.errors import MapError, Offline, PlanError
from skystage.model import Asset, Granule, Query
from skystage.s2names import Product

rasterio = pytest.importorskip("rasterio", reason="the extra 'raster' is not installed")
np = pytest.importorskip("numpy")
pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")

STEM = "T31UFS_20180604T105031"


def product(day: int, baseline: str = "0208") -> str:
    when = datetime(2018, 6, 1, 10, 50, 31, tzinfo=UTC) + timedelta(days=day)
    return f"S2A_MSIL2A_{when:%Y%m%dT%H%M%S}_N{baseline}_R051_T31UFS_20180604T141234"


def write(path: Path, values, driver="GTiff", **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, rows, columns = values.shape
    with rasterio.open(
        path,
        "w",
        driver=driver,
        width=columns,
        height=rows,
        count=count,
        dtype=values.dtype,
        crs="EPSG:32631",
        transform=rasterio.Affine(10, 0, 600000, 0, -10, 5700000),
        **more,
    ) as file:
        file.write(values)
    path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)
    return path


def jp2(path: Path, values) -> Path:
    return write(path, values, "JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES", YCBCR420="NO")


def flat(value, side=440, count=1, dtype="uint16"):
    return np.full((count, side, side), value, dtype)


def look(path: Path):
    """The sheet's pixels: rows, columns, red, green and blue."""
    from matplotlib.image import imread

    return (imread(path)[..., :3] * 255).round().astype(int)


def middle(path: Path, column: int = 0, row: int = 0):
    """The pixel in the middle of a picture."""
    y = HEAD + row * (SIDE + GAP + 2 * sheet.LINE) + SIDE // 2
    x = GAP + column * (SIDE + GAP) + SIDE // 2
    return tuple(look(path)[y, x].tolist())


@pytest.fixture
def made(tmp_path):
    """A folder of rasters: ``made(product, B04_10m=value, ...)``."""

    def make(name: str, options=None, **bands) -> Path:
        files = [
            jp2(tmp_path / "jp2" / name / f"{STEM}_{key}.jp2", one if hasattr(one, "shape") else flat(one))
            for key, one in bands.items()
        ]
        extract(files, tmp_path / "out", product=name, options=options)
        return tmp_path / "out"

    return make


def test_products_stand_in_the_order_of_time_with_their_own_pixels(made, tmp_path):
    for day in (7, 3, 5):
        folder = made(product(day), TCI_10m=flat(30 * day, count=3, dtype="uint8"))
    found = draw(of_folder(folder), tmp_path / "sheet.png")
    assert found.shown == "TCI"
    assert found.products == (product(3), product(5), product(7))
    assert [middle(tmp_path / "sheet.png", *at)[0] for at in ((0, 0), (1, 0), (2, 0))] == [90, 150, 210]
    assert found.failures == {}


def test_reflectances_are_stretched_alike_and_have_their_offset(made, tmp_path):
    for day, baseline, shift in ((1, "0208", 0), (2, "0509", 1000)):
        folder = made(product(day, baseline), B04_10m=1500 + shift, B03_10m=600 + shift, B02_10m=9000 + shift)
    path = tmp_path / "sheet.png"
    assert draw(of_folder(folder), path).shown == "RGB"
    assert middle(path) == middle(path, 1) == (128, 51, 255)
    draw(of_folder(folder), path, "B04")
    assert middle(path) == middle(path, 1) == (76, 76, 76)


def test_scaled_masked_moved_and_stacked_rasters_look_the_same(made, tmp_path):
    bands = {"B04_10m": 1500, "B03_10m": 600, "B02_10m": 900}
    for day, options in enumerate(
        (
            Options(),
            Options(scale=True),
            Options(resolution=20, resampling="average", scale=True),
            Options(stack=True),
        )
    ):
        folder = made(product(day), options, **bands)
    path = tmp_path / "sheet.png"
    draw(of_folder(folder), path, "RGB")
    assert {middle(path, *at) for at in ((0, 0), (1, 0), (2, 0), (0, 1))} == {(128, 51, 76)}


def test_classes_have_their_colours_and_no_data_none(made, tmp_path):
    scl = flat(6, dtype="uint8")
    scl[:, :20] = 0
    path = tmp_path / "sheet.png"
    draw(of_folder(made(product(1), SCL_20m=scl)), path)
    assert middle(path) == tuple(bytes.fromhex(COLOURS[6][1:]))
    assert tuple(look(path)[HEAD + 4, GAP + 4]) == EMPTY


@pytest.mark.parametrize(
    ("key", "value", "grey"), [("AOT_10m", 200, 51), ("WVP_10m", 2500, 128), ("MSK_CLDPRB_20m", 20, 51)]
)
def test_other_bands_are_grey_between_the_ends_that_the_page_says(tmp_path, key, value, grey):
    name = f"{key}.jp2" if key.startswith("MSK") else f"{STEM}_{key}.jp2"
    file = jp2(tmp_path / name, flat(value, dtype="uint8" if key.startswith("MSK") else "uint16"))
    shot = Shot(Product.named(product(1)), {key: (file, 1)})
    draw([shot], tmp_path / "sheet.png", key)
    assert middle(tmp_path / "sheet.png") == (grey,) * 3


def test_a_small_area_is_drawn_in_whole_multiples_of_its_pixels(tmp_path):
    values = flat(5000, side=50)
    values[0, 0, 0] = 0
    file = jp2(tmp_path / f"{STEM}_B04_10m.jp2", values)
    draw([Shot(Product.named(product(1)), {"B04_10m": (file, 1)})], tmp_path / "sheet.png")
    found = look(tmp_path / "sheet.png")[HEAD:, GAP:]
    assert (found[:4, :4] == EMPTY).all()
    assert (found[4:200, 4:200] == 255).all()


def test_a_product_that_lacks_what_is_shown_or_is_broken_has_no_picture(tmp_path):
    whole = jp2(tmp_path / "a" / f"{STEM}_B04_10m.jp2", flat(2500))
    other = jp2(tmp_path / "b" / f"{STEM}_B03_10m.jp2", flat(2500))
    broken = tmp_path / "c" / f"{STEM}_B04_10m.jp2"
    broken.parent.mkdir()
    broken.write_bytes(whole.read_bytes()[:300])
    shots = [
        Shot(Product.named(product(1)), {"B04_10m": (whole, 1)}),
        Shot(Product.named(product(2)), {"B03_10m": (other, 1)}),
        Shot(Product.named(product(3)), {"B04_10m": (broken, 1)}),
    ]
    found = draw(shots, tmp_path / "sheet.png", "B04")
    assert list(found.failures) == [product(3)]
    assert middle(tmp_path / "sheet.png") == (128, 128, 128)
    with pytest.raises(MapError, match="there are: B03_10m, B04_10m; did you mean 'B04_10m'"):
        draw(shots, tmp_path / "sheet.png", "B40_10m")
    with pytest.raises(MapError, match="no product has 'RGB'"):
        draw(shots, tmp_path / "sheet.png", "RGB")


def test_equal_files_are_equal_sheets_and_labels_are_on_them(made, tmp_path):
    scl = flat(9, dtype="uint8")
    folder = made(product(1), TCI_10m=flat(200, count=3, dtype="uint8"), SCL_20m=scl)
    one, two, three = (tmp_path / f"{name}.png" for name in "abc")
    shots = of_folder(folder)
    assert [(shot.cloud, shot.product.tile) for shot in shots] == [(1.0, "31UFS")]
    draw(shots, one)
    draw(shots, two)
    assert one.read_bytes() == two.read_bytes()
    draw([Shot(shots[0].product, shots[0].bands, 0.25)], three)
    label = slice(HEAD + SIDE, HEAD + SIDE + 2 * sheet.LINE)
    assert (look(one)[label] != look(three)[label]).any()
    assert (look(one)[: HEAD + SIDE] == look(three)[: HEAD + SIDE]).all()


def test_two_hundred_products_take_no_more_memory_than_their_pictures(tmp_path):
    file = jp2(tmp_path / f"{STEM}_TCI_10m.jp2", flat(99, side=512, count=3, dtype="uint8"))
    shots = [Shot(Product.named(product(day)), {"TCI_10m": (file, 1)}) for day in range(200)]
    draw(shots[:1], tmp_path / "sheet.png")  # what the libraries themselves take
    tracemalloc.start()
    draw(shots, tmp_path / "sheet.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    pixels = look(tmp_path / "sheet.png")
    assert pixels.shape[0] * pixels.shape[1] > 200 * SIDE * SIDE
    assert peak < 10 * 3 * 200 * SIDE * SIDE
    assert middle(tmp_path / "sheet.png", 3, 4) == (99, 99, 99)


@pytest.fixture
def planned(store, staged, tmp_path):
    def make(stage=True, key="B04_10m"):
        assets = (
            Asset(key=key, path=f"cdse/S/{product(1, '0509')}/{STEM}_{key}.jp2"),
            Asset(key="product_metadata", path=f"cdse/S/{product(1, '0509')}/MTD_MSIL2A.xml"),
        )
        if stage:
            staged(store, assets[0], jp2(tmp_path / "x.jp2", flat(3500)).read_bytes())
            xml = b'<a><BOA_ADD_OFFSET band_id="3">-1000</BOA_ADD_OFFSET></a>'
            staged(store, assets[1], xml)
        granules = [
            Granule(
                archive="cdse",
                collection="S",
                id=product(day, "0509"),
                native_id="x",
                properties={"cloudCover": 12.5},
                assets=assets if day == 1 else (),
            )
            for day in (1, 2)
        ]
        return plans.write(
            tmp_path / "plan.ndjson", query=Query(archive="cdse"), granules=granules, hits=2, received=2
        )

    return make


def test_a_plan_is_drawn_from_what_is_staged(planned, store, tmp_path):
    (shot,) = of_plan(planned(), store)
    assert shot.cloud == 0.125
    draw([shot], tmp_path / "sheet.png")
    assert middle(tmp_path / "sheet.png") == (128, 128, 128)


def test_a_plan_of_which_nothing_can_be_drawn_is_refused(planned, store, tmp_path):
    with pytest.raises(Offline, match="none of its bands is staged"):
        of_plan(planned(stage=False), store)
    with pytest.raises(PlanError, match="no bands of Sentinel-2"):
        of_plan(planned(key="PVI", stage=False), store)
    with pytest.raises(PlanError, match="has no rasters"):
        of_folder(tmp_path)


def test_what_an_earlier_run_made_is_not_drawn_when_one_run_is_asked_for(made, run, tmp_path):
    made(product(1), B04_10m=100)
    made(product(3), B04_10m=7000)
    folder = made(product(2), Options(scale=True), B04_10m=2000)
    receipt, path = tmp_path / "made.json", tmp_path / "sheet.png"
    rasters = [f"elsewhere/{product(day)}/{STEM}_B04_10m{end}.tif" for day, end in ((2, "_scaled"), (3, ""))]
    receipt.write_text(json.dumps({"made": [{"paths": [one]} for one in rasters], "skipped": []}))
    code, out, _ = run(folder, "--made", receipt, "-o", path, "--json")
    assert (code, json.loads(out)["products"]) == (0, [product(2), product(3)])
    assert [middle(path, column)[0] for column in (0, 1)] == [102, 255]


def test_of_runs_that_made_nothing_the_sheet_is_empty(run, tmp_path, store):
    receipt, path = tmp_path / "made.json", tmp_path / "sheet.png"
    receipt.write_text('{"made": []}')
    code, out, err = run(tmp_path / "nowhere", "--made", receipt, "--show", "SCL", "-o", path, "--json")
    assert (code, json.loads(out)["products"], json.loads(out)["shown"]) == (0, [], "SCL")
    assert "0 products on the sheet" in err
    assert look(path).size
    plan = tmp_path / "plan.ndjson"
    plans.write(plan, query=Query(archive="cdse"), granules=[], hits=0, received=0)
    assert run(plan, "--store", store.root, "-o", path)[0] == 0


@pytest.mark.parametrize("text", ["", "[]", '{"made": 3}', '{"made": [{}]}', '{"made": [{"paths": [1]}]}'])
def test_what_no_run_printed_is_refused(run, tmp_path, text):
    (tmp_path / "made.json").write_text(text)
    code, _, err = run(tmp_path, "--made", tmp_path / "made.json", "-o", tmp_path / "sheet.png")
    assert code == 2
    assert "made.json is not what `skystage derive bands --json` prints" in err


def test_too_many_products_are_refused_before_any_is_read(tmp_path):
    shots = [Shot(Product.named("x"), {"B04_10m": (tmp_path / "none", 1)})] * 100_000
    with pytest.raises(MapError, match="100,000 products are too many"):
        draw(shots, tmp_path / "sheet.png")


@pytest.fixture
def run(capsys):
    def call(*words: object) -> tuple[int, str, str]:
        code = cli.run(["derive", "sheet", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_command_draws_a_folder_or_a_plan(made, planned, run, store, tmp_path):
    path = tmp_path / "sheet.png"
    code, out, err = run(made(product(1), B04_10m=100), "-o", path)
    assert (code, out, path.is_file()) == (0, f"{path}\n", True)
    assert "1 products on the sheet, B04_10m" in err
    planned()
    code, out, _ = run(tmp_path / "plan.ndjson", "--store", store.root, "-o", path, "--json")
    assert json.loads(out) == {
        "path": str(path),
        "shown": "B04_10m",
        "products": [product(1, "0509")],
        "failed": [],
    }
    (store.root / f"cdse/S/{product(1, '0509')}/{STEM}_B04_10m.jp2").write_bytes(b"")
    assert run(tmp_path / "plan.ndjson", "--store", store.root, "-o", path)[0] == 4


def test_the_command_says_what_failed_with_exit_code_4(made, run, tmp_path):
    folder = made(product(1), B04_10m=100)
    (raster,) = folder.rglob("*.tif")
    raster.write_bytes(b"no raster")
    code, _, err = run(folder, "-o", tmp_path / "sheet.png")
    assert code == 4
    assert f"failed   {raster.name}" in err


def test_wrong_words_are_exit_code_2(made, planned, run, store, tmp_path):
    folder, plan = made(product(1), B04_10m=100), tmp_path / "plan.ndjson"
    planned()
    for words, said in (
        ((folder, "-o", "sheet.jpg"), "is no .png"),
        ((folder, "--store", store.root, "-o", "s.png"), "is for a plan"),
        ((plan, "--store", store.root, "--made", plan, "-o", "s.png"), "--made: is for a folder"),
        ((plan, "-o", "s.png"), "where are the bands"),
        ((tmp_path / "nothing", "--store", "s", "-o", "s.png"), "nothing"),
    ):
        code, _, err = run(*words)
        assert code == 2
        assert said in err
