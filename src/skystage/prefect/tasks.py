"""The tasks: each calls one function of the core, and tells Prefect which errors are worth a retry."""

from __future__ import annotations

import math
import random
import threading
from pathlib import Path
from typing import Any

from prefect import State, Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun  # noqa: TC002 - Prefect reads the annotations
from prefect.runtime import task_run

from skystage import layouts, searching
from skystage import query as queries
from skystage.archives.dem import NOTE
from skystage.batch import Outcome, fetch_plan
from skystage.derive import orbits
from skystage.errors import FetchFailed, SkystageError, Stopped
from skystage.events import Event, Failed, Retrying
from skystage.manifest import write
from skystage.maps import draw
from skystage.model import Json
from skystage.plan import Plan
from skystage.planfile import PlanFile
from skystage.planning import build
from skystage.prefect.blocks import open_access
from skystage.release import release_plan
from skystage.store import Store
from skystage.transport import Access

PAUSES = (10.0, 60.0, 300.0)
"""Seconds before each further try of a task. Short faults are waited out inside a batch; these are for
an archive that is down for a while."""
SHARED = {"orbits": ("orbit",), "dem": ("dem", "geoid")}
"""The asset keys of what granules share."""


def is_transient(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry condition: only what may succeed without anybody changing anything.

    What was stopped on purpose is not begun again. A plain function: Prefect 3.8 takes a partial or
    a callable object for "never".
    """
    del task, run
    error = state.result(raise_on_failure=False)
    causes = error.failures.values() if isinstance(error, FetchFailed) else [error]
    return (
        isinstance(error, SkystageError)
        and error.transient
        and not any(isinstance(cause, Stopped) for cause in causes)
    )


@task(
    name="search",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(PAUSES),
    retry_delay_seconds=list(PAUSES),
    retry_jitter_factor=0.3,
    retry_condition_fn=is_transient,
)
def search(query: dict[str, Json], path: Path, base: Path | None = None) -> Path:
    """Ask an archive for a query, and write what it has into a file.

    Parameters
    ----------
    query
        The keys of a query file; those that test what came are not looked at.
    path
        Where to write the granules.
    base
        The folder that files named in the query are relative to; default: the current one.

    Raises
    ------
    QueryError
        If the query cannot be asked; not retried.
    SearchError
        If a catalogue fails, or delivers less than it counted.
    """
    found = searching.search(queries.parse(query, base=base or Path()), path, Access())
    truncated = ", truncated" if found.truncated else ""
    get_run_logger().info("%s granules of %s%s", found.count, found.hits, truncated)
    return found.path


@task(
    name="filter granules",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(PAUSES),
    retry_delay_seconds=list(PAUSES),
    retry_jitter_factor=0.3,
    retry_condition_fn=is_transient,
)
def filter_granules(
    query: dict[str, Json],
    searched: Path,
    path: Path,
    base: Path | None = None,
    *,
    allow_empty: bool = False,
    credentials: str | None = None,
) -> Path:
    """Filter what was searched, find its companions, and freeze it into a plan file.

    Parameters
    ----------
    query
        The keys of a query file.
    searched
        What `search` found for the same query.
    path
        Where to write the plan.
    base
        The folder that files named in the query are relative to; default: the current one.
    allow_empty
        Whether a query that matches nothing is a result and no failure.
    credentials
        A Block with credentials, as ``TYPE/NAME``; default: those of the environment and netrc. Archives
        whose products' own metadata say what is in them ask for them here already.

    Raises
    ------
    QueryError
        If the query cannot be asked, or something else was searched for; not retried.
    SearchError
        If a catalogue of companions fails.
    SkystageError
        If nothing is kept; the plan says why.
    """
    logger = get_run_logger()
    asked = queries.parse(query, base=base or Path())
    plan = build(asked, path, open_access(credentials), searched=searching.SearchFile(searched))
    totals = plan.header.totals
    logger.info("kept %s granules, %s bytes", totals.granules, totals.bytes)
    for reason, count in totals.dropped.items():
        logger.info("dropped %s: %s", count, reason)
    for granule, missing in plan.unresolved():
        logger.warning("unresolved: %s: %s: %s", granule, missing.key, missing.reason)
    for host in plan.header.degraded:
        logger.warning("degraded: %s", host)
    if not totals.granules and not allow_empty:
        raise SkystageError(
            f"{path}: nothing is kept of {plan.header.hits:,} granules that match the search",
            hint="widen the query, or set allow_empty",
        )
    return plan.path


@task(
    name="fetch batch",
    task_run_name="fetch {batch} of {batches}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(PAUSES),
    retry_condition_fn=is_transient,
)
def fetch_batch(
    plan: Path,
    store: Path,
    batch: int = 1,
    batches: int = 1,
    *,
    keys: list[str] | None = None,
    jobs: int = 4,
    released: bool = False,
    credentials: str | None = None,
    stop: threading.Event | None = None,
) -> dict[str, Json]:
    """Stage one batch of a plan.

    Parameters
    ----------
    batch, batches
        Which of how many, from 1.
    keys
        Only assets of these keys; default: all.
    jobs
        Assets at a time.
    released
        Whether to fetch what was released as well.
    credentials
        A Block with credentials, as ``TYPE/NAME``; default: those of the environment and netrc.
    stop
        When set, the batch ends at the next block; what has arrived is continued later.

    Returns
    -------
    Counts: ``planned``, ``staged``, ``already``, ``released``, ``bytes_moved``, ``requests``, ``seconds``.

    Raises
    ------
    FetchFailed
        If any asset failed or the plan says that it cannot be had (and not that it may be missing),
        after all others were staged; retried if one of the errors is transient.
    CredentialsMissing, NotEnoughDisk
        Before the first byte.
    """
    logger = get_run_logger()

    def listen(event: Event) -> None:
        if isinstance(event, Retrying):
            logger.warning("again in %.0f s: %s: %s", event.delay, event.path, event.error)
        elif isinstance(event, Failed):
            logger.error("failed: %s", event.error)

    stop = threading.Event() if stop is None else stop
    _rest(stop)
    outcome = fetch_plan(
        Plan(plan),
        Store(store),
        open_access(credentials),
        batch=(batch, batches),
        keys=keys,
        jobs=jobs,
        released=released,
        listen=listen,
        stop=stop,
    )
    logger.info("staged %s of %s, %s already", len(outcome.receipts), outcome.planned, outcome.already)
    outcome.raise_for_failures()
    return _counts(outcome)


fetch_slc = fetch_batch.with_options(name="fetch slc", task_run_name="fetch slc {batch} of {batches}")
"""`fetch_batch` for scenes that are processed and released batch by batch: with ``keys=["data"]`` it leaves
what they share to others, and with ``released=True`` a scene that was released comes again."""

fetch_bands = fetch_batch.with_options(name="fetch bands", task_run_name="fetch bands {batch} of {batches}")
"""`fetch_batch` for bands of Sentinel-2, which `extract_bands` cuts."""

fetch_products = fetch_batch.with_options(
    name="fetch products", task_run_name="fetch products {batch} of {batches}"
)
"""`fetch_batch` for products of observations, and assets of STAC items."""

fetch_orbits = fetch_batch.with_options(name="fetch orbits", task_run_name="fetch orbits")
"""`fetch_batch` for the orbit files of a whole plan: call it with ``keys=["orbit"]``."""

fetch_dem = fetch_batch.with_options(name="fetch dem", task_run_name="fetch dem")
"""`fetch_batch` for the tiles and geoids of a whole plan: call it with the keys of `shared_keys`."""


@task(name="pair orbits", cache_policy=NO_CACHE, persist_result=False)
def pair_orbits(plan: Path, store: Path, out: Path, *, layout: str = "") -> Path:
    """Write which orbit file each Sentinel-1 scene has, read and proved, from the store alone.

    Parameters
    ----------
    out
        The folder for ``orbits.json``; made if it is not there.
    layout
        Link what is staged below `out` as well, where a tool looks for it: see `skystage.layouts`.

    Returns
    -------
    The path of the table.

    Raises
    ------
    SkystageError
        If a scene has no orbit file that can be used, and the query does not allow it; the table says why.
    PlanError
        If the layout would give two files one place.
    StoreError
        If a file of other content lies where one is to be linked, after all others were.
    """
    whole, staged = Plan(plan), Store(store, read_only=True)
    laid = layouts.get(layout) if layout else None
    out.mkdir(parents=True, exist_ok=True)
    pairs = orbits.pair(whole, staged)
    if laid is not None:
        linked, taken = orbits.link(whole, pairs, staged, out, laid, symbolic=True)
        get_run_logger().info("linked %s files below %s", linked, out)
        for error in taken.values():
            raise error
    found = orbits.table(pairs, staged, out, laid)
    path = orbits.write(found, out)
    if lacking := orbits.lacking(whole, pairs):
        first = lacking[0]
        raise SkystageError(f"{path}: {len(lacking)} without, the first: {first.granule.id}: {first.reason}")
    get_run_logger().info("%s scenes paired, %s without", len(found["pairs"]), len(found["without"]))
    return path


lay_out = pair_orbits.with_options(name="lay out")
"""`pair_orbits` for a processor's folder: call it with a ``layout``."""


@task(name="stitch dem", task_run_name="stitch dem {stack}", cache_policy=NO_CACHE, persist_result=False)
def stitch_dem(plan: Path, store: Path, out: Path, stack: str) -> Path:
    """Stitch the elevation raster of one stack from staged tiles; it takes a core, and no network.

    Nothing that can go wrong here goes right by itself, so it is not tried again.

    Parameters
    ----------
    out
        The folder for the raster and its receipt; made if it is not there.
    stack
        One of `dem_stacks`.

    Returns
    -------
    The path of the raster: degrees of WGS 84, heights in metres.

    Raises
    ------
    FetchFailed
        If tiles are not staged, or the raster is not as it must be.
    PlanError
        If the plan has no such stack.
    """
    from skystage.derive.dem import stitch

    outcome = stitch(Plan(plan), Store(store, read_only=True), out, stacks=[stack])
    outcome.raise_for_failures()
    (made,) = outcome.made
    get_run_logger().info("%s %s", "already" if made.already else "stitched", made.path)
    return made.path


@task(
    name="extract bands",
    task_run_name="extract bands {batch} of {batches}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def extract_bands(
    plan: Path,
    store: Path,
    out: Path,
    batch: int = 1,
    batches: int = 1,
    *,
    bands: dict[str, Json] | None = None,
) -> dict[str, Json]:
    """Cut the staged bands of one batch of a plan, as COGs; it takes a core, and no network.

    Nothing that can go wrong here goes right by itself, so it is not tried again.

    Parameters
    ----------
    out
        The folder for the rasters: ``OUT/PRODUCT/FILE.tif``, each with its receipt; made if it is not there.
    batch, batches
        Which of how many, from 1.
    bands
        What to make of them: see `skystage.derive.wanted.read`; default: as large as they are.

    Returns
    -------
    Counts: ``products``, ``rasters``, ``already`` and ``skipped`` (products); ``paths`` of the rasters.

    Raises
    ------
    FetchFailed
        If bands of a product are not staged, or are not what they must be; all other products are made.
    QueryError
        If that cannot be made of the plan's bands.
    """
    from skystage.derive.bands import extract_all
    from skystage.derive.wanted import read

    whole = Plan(plan)
    asked = read(bands or {}, whole.query)
    outcome = extract_all(
        whole, Store(store, read_only=True), out, asked.options, bands=asked.keys, batch=(batch, batches)
    )
    logger = get_run_logger()
    for one in outcome.skipped:
        logger.warning("skipped %s: %s", one.product, one.skipped)
    outcome.raise_for_failures()
    paths = [str(path) for one in outcome.made for path in one.paths]
    logger.info("%s rasters of %s products", len(paths), len(outcome.made))
    return {
        "products": len(outcome.made),
        "rasters": len(paths),
        "already": sum(one.already for one in outcome.made),
        "skipped": len(outcome.skipped),
        "paths": paths,
    }


@task(name="contact sheet", cache_policy=NO_CACHE, persist_result=False)
def contact_sheet(
    plan: Path,
    store: Path,
    path: Path,
    *,
    show: str = "",
    rasters: Path | None = None,
    made: list[Path] | None = None,
) -> Path:
    """Draw one small picture of each Sentinel-2 product, in time order, as a PNG.

    Parameters
    ----------
    show
        ``TCI``, ``RGB``, ``SCL`` or the key of a band; default: the first of them that there is.
    rasters
        The folder that `extract_bands` wrote to: its rasters are drawn; default: the plan's staged bands.
    made
        Those of them that count; default: all, also those of earlier runs.

    Raises
    ------
    FetchFailed
        If a product could not be drawn; all others are on the sheet.
    MapError
        If no product has what is to be shown.
    """
    from skystage.derive import sheet

    found = (
        sheet.of_plan(Plan(plan), Store(store, read_only=True))
        if rasters is None
        else sheet.of_folder(rasters, made)
    )
    drawn = sheet.draw(found, path, show or None)
    get_run_logger().info("%s products, %s", len(drawn.products), drawn.shown)
    if drawn.failures:
        raise FetchFailed(drawn.failures, len(drawn.products))
    return path


@task(
    name="extract lightcurves",
    task_run_name="extract lightcurves {batch} of {batches}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def extract_lightcurves(
    plan: Path,
    store: Path,
    out: Path,
    batch: int = 1,
    batches: int = 1,
    *,
    lightcurves: dict[str, Json] | None = None,
) -> dict[str, Json]:
    """Make tables and pictures of the staged light curves of one batch of a plan; no network.

    Nothing that can go wrong here goes right by itself, so it is not tried again.

    Parameters
    ----------
    out
        The folder for them, under the assets' own paths; made if it is not there.
    batch, batches
        Which of how many, from 1.
    lightcurves
        The fields of `skystage.derive.lightcurves.Options`; default: Parquet and pictures of corrected flux.

    Returns
    -------
    Counts: ``lightcurves``, ``already`` and ``skipped`` (files that are none).

    Raises
    ------
    FetchFailed
        If files are not staged, or are broken; all others are made.
    QueryError
        If an option cannot be.
    """
    from skystage.derive.lightcurves import extract_all, read

    outcome = extract_all(
        Plan(plan), Store(store, read_only=True), out, read(lightcurves or {}), batch=(batch, batches)
    )
    logger = get_run_logger()
    for one in outcome.skipped:
        logger.info("skipped %s: %s", one.source, one.skipped)
    outcome.raise_for_failures()
    logger.info("%s light curves", len(outcome.made))
    return {
        "lightcurves": len(outcome.made),
        "already": sum(one.already for one in outcome.made),
        "skipped": len(outcome.skipped),
    }


@task(name="tabulate labels", cache_policy=NO_CACHE, persist_result=False)
def tabulate_labels(plan: Path, store: Path, path: Path) -> Path:
    """Write the values of staged labels that the plan's query names, as ``.csv``, ``.json`` or ``.parquet``.

    Raises
    ------
    FetchFailed
        If a label is not staged, or lacks a value; all others are in the table.
    QueryError
        If the query names no labels.
    """
    from skystage.derive import labels

    whole = Plan(plan)
    found = labels.table(whole, Store(store, read_only=True), *labels.asked(whole.query))
    labels.write(found, path)
    get_run_logger().info("%s labels, %s values in %s", found.labels, len(found.rows), path)
    found.raise_for_failures()
    return path


@task(name="draw map", cache_policy=NO_CACHE, persist_result=False)
def draw_map(plan: Path, path: Path) -> Path:
    """Draw the footprints of a plan, as ``.html``, ``.png`` or ``.geojson``.

    Raises
    ------
    MapError
        If it cannot be drawn that way.
    """
    drawn = draw(Plan(plan), path)
    get_run_logger().info("%s footprints in %s stacks", drawn.footprints, drawn.stacks)
    return path


@task(name="write manifest", cache_policy=NO_CACHE, persist_result=False)
def write_manifest(plan: Path, store: Path, path: Path) -> Path:
    """Write what is staged of a plan as a STAC ItemCollection, and ``checksums.txt`` beside it.

    Raises
    ------
    SkystageError
        If a planned asset has no receipt.
    """
    written = write(Plan(plan), Store(store), path)
    if written.missing:
        raise SkystageError(f"{path}: {written.missing} planned assets are not staged")
    get_run_logger().info("%s items, %s assets in %s", written.items, written.assets, path)
    return path


@task(
    name="release slc",
    task_run_name="release slc {batch} of {batches}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def release_slc(plan: Path, store: Path, batch: int = 1, batches: int = 1) -> dict[str, Json]:
    """Delete the scenes of one batch, which were consumed, and keep their receipts.

    Returns
    -------
    Counts: ``planned``, ``released``, ``already``, ``bytes``.

    Raises
    ------
    FetchFailed
        If a scene was changed since it was staged: that is kept; all others are released.
    """
    freed = release_plan(PlanFile(plan), Store(store), batch=(batch, batches), keys=["data"])
    get_run_logger().info("released %s of %s, %s bytes", len(freed.released), freed.planned, freed.bytes)
    if freed.kept:
        raise FetchFailed(freed.kept, freed.planned)
    return {
        "planned": freed.planned,
        "released": len(freed.released),
        "already": freed.already,
        "bytes": freed.bytes,
    }


def count_batches(plan: Path, granules: int) -> int:
    """How many batches of about `granules` granules a plan is cut into."""
    return max(1, math.ceil(Plan(plan).header.totals.granules / granules))


def shared_keys(plan: Path, companion: str) -> list[str]:
    """The asset keys of a companion (``orbits``, ``dem``) that a plan holds or lacks.

    Granules share such files: they are a task of their own, so that batches do not wait for each other.
    """
    whole = Plan(plan)
    if companion not in whole.header.query.get("with", {}):
        return []
    held = {asset.key for asset in whole.assets()} | {one.key for _, one in whole.unresolved()}
    return [key for key in SHARED[companion] if key in held]


def dem_stacks(plan: Path) -> list[str]:
    """The stacks of a plan that have an elevation model."""
    return [one.id for one in Plan(plan).companions() if NOTE in one.properties]


def _rest(stop: threading.Event) -> None:
    """Before a further try: wait, but not for longer than we are wanted.

    Prefect's own delay sleeps in the worker thread, where neither a cancelled run nor Ctrl-C can
    end it.
    """
    tries = task_run.run_count or 1
    if tries > 1:
        pause = PAUSES[min(tries - 2, len(PAUSES) - 1)] * random.uniform(1.0, 1.3)  # noqa: S311
        get_run_logger().info("try %s in %.0f s", tries, pause)
        stop.wait(pause)


def _counts(outcome: Outcome) -> dict[str, Json]:
    return {
        "planned": outcome.planned,
        "staged": len(outcome.receipts),
        "already": outcome.already,
        "released": len(outcome.released),
        "bytes_moved": outcome.bytes_moved,
        "requests": outcome.requests,
        "seconds": round(outcome.seconds, 3),
    }
