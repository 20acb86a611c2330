rule fetch_orbits:
    input:
        plan=LOCKED or "<results>/plan.ndjson",
    output:
        receipt="<results>/orbits.json",
    log:
        "<logs>/orbits.log",
    benchmark:
        "<benchmarks>/orbits.tsv"
    retries: 3
    conda:
        "../envs/skystage.yaml"
    threads: 1
    resources:
        connections=config["jobs"],
    params:
        store=config["store"],
        jobs=config["jobs"],
    shell:
        "skystage fetch {input.plan:q} --store {params.store:q} --asset orbit"
        " --jobs {params.jobs} --json > {output.receipt:q} 2> {log:q}"
