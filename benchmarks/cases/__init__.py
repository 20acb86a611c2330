"""The cases, by name, in the order in which they run."""

from cases import (
    bands,
    bulk,
    cached,
    hashing,
    labels,
    limits,
    link_small,
    memory,
    ranges,
    resume,
    s3,
    sched,
    small,
    startup,
    zip_member,
)

CASES = {
    module.CASE.name: module.CASE
    for module in (
        bulk,
        hashing,
        small,
        link_small,
        labels,
        ranges,
        sched,
        s3,
        zip_member,
        bands,
        resume,
        limits,
        cached,
        startup,
        memory,
    )
}
