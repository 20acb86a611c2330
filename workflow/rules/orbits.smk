# `--batch 1/1` is all of the plan; a batch may well hold nothing of a kind, so a plan without any
# orbit (no scene was kept, or none is Sentinel-1) is no error here.

if LOCKED and WITH_ORBITS:

    rule fetch_orbits:
        input:
            plan=LOCKED,
        output:
            ORBIT_FILES,
            receipt="<results>/batches/orbits.json",
        log:
            "<logs>/fetch/orbits.log",
        benchmark:
            "<benchmarks>/fetch/orbits.tsv"
        retries: 3
        conda:
            "../envs/skystage.yaml"
        threads: 1
        resources:
            connections=config["jobs"],
        params:
            store=STORE,
            into=data_folder,
        shell:
            "skystage fetch {input.plan:q} --store {params.store:q} --batch 1/1 --asset orbit"
            " --jobs {resources.connections} --into {params.into:q} --symlink"
            " --json > {output.receipt:q} 2> {log:q}"

elif WITH_ORBITS:

    rule fetch_orbits:
        input:
            plan="<results>/plan.ndjson",
        output:
            receipt="<results>/batches/orbits.json",
        log:
            "<logs>/fetch/orbits.log",
        benchmark:
            "<benchmarks>/fetch/orbits.tsv"
        retries: 3
        conda:
            "../envs/skystage.yaml"
        threads: 1
        resources:
            connections=config["jobs"],
        params:
            store=STORE,
        shell:
            "skystage fetch {input.plan:q} --store {params.store:q} --batch 1/1 --asset orbit"
            " --jobs {resources.connections} --json > {output.receipt:q} 2> {log:q}"
