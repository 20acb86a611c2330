import json
import math
import os
import re

from snakemake.exceptions import WorkflowError
from snakemake.utils import validate


pathvars:
    results="results",
    logs="logs",
    benchmarks="benchmarks",


wildcard_constraints:
    batch=r"\d+",
    batches=r"\d+",


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


def plan_header(path):
    """The first line of a plan: what it was made of, and how much it holds."""
    try:
        with open(path, encoding="utf-8") as lines:
            return json.loads(lines.readline())
    except (OSError, ValueError):
        raise WorkflowError(
            f"plan: {path}: not a plan file (make it with `skystage plan`)"
        ) from None


def check_query(query):
    """Refuse what cannot be asked now, not in the first job."""
    try:
        from skystage import errors, query as queries
    except ImportError:
        return  # only the command is installed: `skystage plan` will say it
    try:
        queries.parse(query)
    except errors.QueryError as error:
        raise WorkflowError(f"query: {error}") from None


def has_orbits(plan):
    """Whether a plan holds orbit files, or scenes that lack theirs."""
    with open(plan, encoding="utf-8") as lines:
        return any('"key":"orbit"' in line for line in lines)


def count_batches(header):
    """How many batches a plan is cut into: about `batch_granules` granules each."""
    return max(1, math.ceil(header["totals"]["granules"] / config["batch_granules"]))


def files_of(plan, batches):
    """The files of a plan as `fetch` links them: by batch, each at its first one; the orbits apart."""
    from skystage.plan import Plan

    seen, found, orbits = set(), {}, []
    for number in range(1, batches + 1):
        found[number] = []
        for asset in Plan(plan).assets((number, batches)):
            if asset.path not in seen:
                seen.add(asset.path)
                apart = WITH_ORBITS and asset.key == "orbit"
                (orbits if apart else found[number]).append(
                    f"<results>/data/{asset.path}"
                )
    return found, orbits


def data_folder(wildcards, output):
    """The folder that files are linked to, as a module's paths make it."""
    return output.receipt[: output.receipt.rindex("batches/")] + "data"


def receipts_of(plan):
    """The receipts of all batches of a plan, and of its orbits."""
    count = count_batches(plan_header(plan))
    found = [f"{number}-of-{count}" for number in range(1, count + 1)]
    if WITH_ORBITS and has_orbits(plan):
        found.append("orbits")
    return [f"<results>/batches/{name}.json" for name in found]


def planned_receipts(wildcards):
    """The receipts of the plan that the checkpoint makes."""
    return receipts_of(checkpoints.plan.get().output.plan)


check_config("../schemas/config.schema.yaml")
LOCKED = config["plan"]
if not LOCKED and not config["query"]:
    raise WorkflowError("config: neither query nor plan is given")
if not LOCKED:
    check_query(config["query"])
QUERY = plan_header(LOCKED)["query"] if LOCKED else config["query"]
STORE = config["store"] or workflow.pathvars.apply("<results>/store")
# The orbits have a rule of their own, so that scenes which share one do not wait for each other.
WITH_ORBITS = (QUERY.get("with") or {}).get("orbits") not in (None, False)
ASSETS = QUERY.get("assets") or ["data"]
KEYS = (
    [f"--asset {key}" for key in ([ASSETS] if isinstance(ASSETS, str) else ASSETS)]
    if WITH_ORBITS
    else []
)
# An area that is a file: the plan is made again when it changes.
AREA = QUERY.get("area")
AREA_FILE = (
    [os.path.abspath(AREA)]
    if not LOCKED and isinstance(AREA, str) and re.fullmatch(r"[^{(\[,]+\.\w+", AREA)
    else []
)
