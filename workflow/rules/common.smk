import json
import math

from skystage.plan import Plan


pathvars:
    results="results",
    logs="logs",
    benchmarks="benchmarks",


wildcard_constraints:
    batch=r"\d+",
    batches=r"\d+",


# What is fetched in batches: everything but the orbits, which have a rule of their own.
KEYS = " ".join(f"--asset {key}" for key in config["query"].get("assets") or ["data"])
WITH_ORBITS = bool(config["query"].get("with", {}).get("orbits"))
LOCKED = config["plan"]


def count_batches(path):
    """How many batches a plan is cut into: about `batch_granules` each."""
    return max(
        1, math.ceil(Plan(path).header.totals.granules / config["batch_granules"])
    )


def batch_receipts(wildcards):
    """The receipts of all batches of the plan that the checkpoint makes."""
    plan = checkpoints.plan.get().output.plan
    count = count_batches(plan)
    return [
        f"<results>/batches/{number}-of-{count}.json" for number in range(1, count + 1)
    ]
