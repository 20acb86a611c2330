import json
import math
import os
import re

from snakemake.exceptions import WorkflowError


pathvars:
    results="results",
    logs="logs",
    benchmarks="benchmarks",


wildcard_constraints:
    batch=r"\d+",
    batches=r"\d+",


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
    return output.receipt[: output.receipt.index("batches/")] + "data"


def batch_receipts(wildcards):
    """The receipts of all batches of the plan that the checkpoint makes."""
    count = count_batches(plan_header(checkpoints.plan.get().output.plan))
    return [
        f"<results>/batches/{number}-of-{count}.json" for number in range(1, count + 1)
    ]


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
