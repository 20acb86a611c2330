# Asked for only if the plan holds any: no scene may have been kept, or none of Sentinel-1.

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
            "skystage fetch {input.plan:q} --store {params.store:q} --asset orbit"
            " --jobs {resources.connections} --into {params.into:q} --symlink --released"
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
            "skystage fetch {input.plan:q} --store {params.store:q} --asset orbit"
            " --jobs {resources.connections} --json > {output.receipt:q} 2> {log:q}"
