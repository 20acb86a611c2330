import json
import math
import os
import re
import shlex

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate


pathvars:
    results="results",
    logs="logs",
    benchmarks="benchmarks",


wildcard_constraints:
    batch=r"\d+",
    batches=r"\d+",
    stack=r"[^/]+",
    scene=r"[^/]+",
    product=r"S2[A-Z]_[^/]+",
    observation=r"[^/]+",


def check_config(schema):
    """Fill in the defaults of the schema; refuse what it does not allow, in one line."""
    try:
        validate(config, schema)
    except WorkflowError as error:
        wrong = error.__context__
        field = ".".join(str(key) for key in wrong.absolute_path)
        allowed = ", ".join(wrong.schema.get("properties", ()))
        raise WorkflowError(
            f"config: {f'{field}: ' if field else ''}{wrong.message}"
            f"{f'; allowed: {allowed}' if allowed else ''}"
        ) from None


def read_query(query):
    """The query with its preset written out; what cannot be asked is refused now, not in the first job."""
    try:
        from skystage import errors, query as queries
    except ImportError:
        return query  # only the command is installed: `skystage search` will say it
    try:
        return queries.parse(query).to_json()
    except errors.QueryError as error:
        raise WorkflowError(f"query: {error}") from None


def as_text(query):
    """A query as a job's command line has it."""
    return json.dumps(query, sort_keys=True, default=str)


def read_bands(bands):
    """What is said of bands, read; None if the command alone is installed, which will say what is wrong."""
    try:
        from skystage import errors
        from skystage.derive import wanted
    except ImportError:
        return None
    try:
        return wanted.read(bands, QUERY)
    except errors.QueryError as error:
        raise WorkflowError(f"config: {error}") from None


def check_labels():
    """Whether the labels are staged that a table is to be made of; the command alone will say it, if late."""
    try:
        from skystage import errors
        from skystage.derive import labels
    except ImportError:
        return
    try:
        labels.asked(QUERY)
    except errors.QueryError as error:
        raise WorkflowError(f"config: {error}") from None


def files_named_in(query):
    """The files that a query names, which are read again when they change: its area, its preset."""
    area, preset = query.get("area"), query.get("preset")
    found = [
        *(
            [area]
            if isinstance(area, str) and re.fullmatch(r"[^{(\[,]+\.\w+", area)
            else []
        ),
        *([preset] if re.search(r"\.(ya?ml|json)$", str(preset)) else []),
    ]
    return [os.path.abspath(path) for path in found]


# ------------------------------------------------------------------------------------------------
# What a plan holds. It is read as text, so that the command on the path is enough.


def plan_header(path):
    """The first line of a plan: what it was made of, and how much it holds."""
    with open(path, encoding="utf-8") as lines:
        return json.loads(lines.readline())


def locked_header(path):
    """The same of a plan that the configuration names."""
    try:
        return plan_header(path)
    except (OSError, ValueError):
        raise WorkflowError(
            f"plan: {path}: not a plan file (make it with `skystage plan`)"
        ) from None


def lines_of(plan, word):
    """The lines of a plan, behind the header, that have a word."""
    with open(plan, encoding="utf-8") as lines:
        next(lines)
        yield from (line for line in lines if word in line)


def shared_keys(plan, companion):
    """Which asset keys of a companion a plan holds, or lacks: they have a rule of their own."""
    if not (plan_header(plan)["query"].get("with") or {}).get(companion):
        return []
    return [key for key in SHARED[companion] if any(lines_of(plan, f'"key":"{key}"'))]


def count_batches(header):
    """How many batches a plan is cut into: about `batch_granules` granules each."""
    return max(1, math.ceil(header["totals"]["granules"] / config["batch_granules"]))


def batch_names(plan):
    """What the receipts of a plan's batches are called."""
    count = count_batches(plan_header(plan))
    return [f"{number}-of-{count}" for number in range(1, count + 1)]


def files_of(plan, batches):
    """The files of a plan as `fetch` links them: by batch, each at its first one; what is shared apart."""
    from skystage.plan import Plan

    apart = {key: [] for keys in SHARED.values() for key in keys}
    if not fetched_apart(plan):
        apart = {}
    seen, found = set(), {}
    for number in range(1, batches + 1):
        found[number] = []
        for asset in Plan(plan).assets((number, batches)):
            if asset.path not in seen:
                seen.add(asset.path)
                apart.get(asset.key, found[number]).append(
                    f"<results>/data/{asset.path}"
                )
    return found, {
        companion: [path for key in keys for path in apart.get(key, [])]
        for companion, keys in SHARED.items()
    }


def cogs_of(plan, batches):
    """The rasters of a plan's products by batch, without those that may be skipped."""
    from skystage.plan import Plan

    return {
        number: [
            f"<results>/bands/{granule.id}/{name}"
            for granule in Plan(plan).granules((number, batches))
            if WANTED.surely_on(granule)
            for name in WANTED.names(granule)
        ]
        for number in range(1, batches + 1)
    }


def fetched_apart(plan):
    """Whether batches leave out what their granules share."""
    return any(shared_keys(plan, companion) for companion in SHARED)


def the_plan():
    """The plan: the locked one, or that of the checkpoint."""
    return LOCKED or checkpoints.filter_granules.get().output.plan


# ------------------------------------------------------------------------------------------------
# Inputs


def receipts(wildcards):
    """The receipts of all batches of the plan, and of what they share."""
    plan = the_plan()
    found = batch_names(plan)
    found += [companion for companion in SHARED if shared_keys(plan, companion)]
    return [f"<results>/batches/{name}.json" for name in found]


def derived(wildcards):
    """What is made of what was staged: the pairing table, elevation, a processor's folder, cut bands."""
    plan = the_plan()
    found = []
    if shared_keys(plan, "orbits"):
        found += ["orbits/orbits.json"]
        found += [f"{LAYOUT}/orbits.json"] if LAYOUT else []
    if shared_keys(plan, "dem"):
        stacks = [json.loads(line)["id"] for line in lines_of(plan, '"skystage:dem"')]
        found += [f"dem/{stack}{DEM_ENDINGS[0]}" for stack in stacks]
    if config["sheet"]:
        found += ["sheet.png"]
    if QUERY.get("archive") in ("mast", "missions"):
        found += ["manifest.ecsv"]
    if LABELS:
        found += [f"labels.{LABELS}"]
    if CURVES is not None:
        found += [f"curves/{name}.json" for name in batch_names(plan)]
    return [*(f"<results>/{name}" for name in found), *extracted(wildcards)]


def extracted(wildcards):
    """The receipts of all batches of bands that are cut."""
    if BANDS is None:
        return []
    return [f"<results>/extracted/{name}.json" for name in batch_names(the_plan())]


def slcs(wildcards):
    """The scenes of the plan that are one zip each, as `fetch_slc` links them."""
    found = []
    for line in lines_of(the_plan(), '"stack":"'):
        granule = json.loads(line)
        name = f"{granule['id']}.zip"
        if any(one["name"] == name for one in granule["assets"]):
            found.append(f"<results>/slc/{granule['stack']}/{name}")
    return found


# ------------------------------------------------------------------------------------------------
# Options


def batch_keys(wildcards, input):
    """What batches fetch: everything, or all but what their granules share."""
    if not fetched_apart(input.plan):
        return ""
    keys = plan_header(input.plan)["query"].get("assets") or ["data"]
    return " ".join(f"--asset {key}" for key in keys)


def orbit_keys(wildcards, input):
    """The keys of the orbits."""
    return " ".join(f"--asset {key}" for key in shared_keys(input.plan, "orbits"))


def dem_keys(wildcards, input):
    """The keys of elevation: tiles, and a geoid if one is needed."""
    return " ".join(f"--asset {key}" for key in shared_keys(input.plan, "dem"))


def links(wildcards, output):
    """Of a locked plan the files are linked to where a module's paths have them."""
    if not LOCKED:
        return ""
    into = output.receipt[: output.receipt.rindex("batches/")] + "data"
    return f"--into {shlex.quote(into)} --symlink"


def above(levels, *below):
    """A folder so many levels above a rule's last output, or below that, as a module's paths make it."""

    def folder(wildcards, output):
        return os.path.normpath(os.path.join(output[-1], *[".."] * levels, *below))

    return folder


def sheet_of(wildcards, input, output):
    """What a contact sheet is drawn of: the folder of rasters, or the plan and its store."""
    if BANDS is not None and not BANDS.get("stack"):
        folder = above(1, "bands")(wildcards, output)
        # What an earlier run made lies there too, of other dates or with more cloud.
        return f"{shlex.quote(folder)} --made {shlex.join(input.extracted)}"
    return f"{shlex.quote(input.plan)} --store {shlex.quote(STORE)}"


def curve_options(curves):
    """What is said of light curves, as options of the command."""
    found = [
        f"--{name} {shlex.quote(str(value))}"
        for name, value in curves.items()
        if name != "picture"
    ]
    return " ".join(
        [*found, *([] if curves.get("picture", True) else ["--no-picture"])]
    )


def band_options(bands):
    """What is said of bands, as options of the command."""
    found = []
    for name, value in bands.items():
        option = "band" if name == "keys" else name.replace("_", "-")
        if value is None or value is False:  # 0 is a value
            continue
        if value is True:
            found.append(f"--{option}")
        elif name == "area":
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            found.append(f"--area={shlex.quote(text)}")
        else:
            values = value if isinstance(value, list) else [value]
            found += [f"--{option}={shlex.quote(str(one))}" for one in values]
    return " ".join(found)


check_config("../schemas/config.schema.yaml")
LOCKED = config["plan"]
LAYOUT = config["layout"]
PLAN = LOCKED or "<results>/plan.ndjson"
STORE = config["store"] or workflow.pathvars.apply("<results>/store")
# What granules share is fetched by rules of its own, so that batches do not wait for each other.
SHARED = {"orbits": ("orbit",), "dem": ("dem", "geoid")}
# What of a query is for what an archive answered; all else is what it is asked.
AFTERWARDS = ("filter", "select", "assets", "with", "offline", "allow_missing")
if not LOCKED and not config["query"]:
    raise WorkflowError("config: neither query nor plan is given")
QUERY = locked_header(LOCKED)["query"] if LOCKED else read_query(config["query"])
WITH = QUERY.get("with") or {}
BANDS = config["bands"]
CURVES = config["lightcurves"]
LABELS = config["labels"]
if LABELS:
    check_labels()
WANTED = None if BANDS is None else read_bands(BANDS)
if LAYOUT and not WITH.get("orbits"):
    raise WorkflowError(
        f"config: layout: {LAYOUT} is for scenes with orbits (query: with: {{orbits: true}})"
    )
# ISCE2 wants a raster's two headers beside it, under its name.
DEM = WITH["dem"] if isinstance(WITH.get("dem"), dict) else {}
DEM_RASTER = ".dem" if DEM.get("height") == "geoid" else ".dem.wgs84"
DEM_ENDINGS = (
    [DEM_RASTER, f"{DEM_RASTER}.xml", f"{DEM_RASTER}.vrt"]
    if DEM.get("format") == "isce2"
    else [".tif"]
)
