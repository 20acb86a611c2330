# Light curves are made batch by batch of what was staged: a job reads the whole plan. What is no light curve is
# skipped, and only the file itself says so; the receipt names each.

if CURVES is not None:

    rule extract_lightcurves:
        input:
            plan=PLAN,
            staged="<results>/batches/{batch}-of-{batches}.json",
        output:
            receipt="<results>/curves/{batch}-of-{batches}.json",
        log:
            "<logs>/curves/{batch}-of-{batches}.log",
        benchmark:
            "<benchmarks>/curves/{batch}-of-{batches}.tsv"
        conda:
            "../envs/skystage.yaml"
        threads: 1
        params:
            store=STORE,
            out=above(2, "lightcurves"),
            options=curve_options(CURVES),
        shell:
            "skystage derive lightcurves {input.plan:q} --store {params.store:q} -o {params.out:q}"
            " --batch {wildcards.batch}/{wildcards.batches} {params.options}"
            " --json > {output.receipt:q}.part 2> {log:q}"
            " && mv {output.receipt:q}.part {output.receipt:q}"


# One observation, one job, for rules that take them one by one: docs/orchestrators.md. A plan that was made
# again is no reason to fetch an observation again.
rule fetch_observation:
    input:
        plan=ancient(PLAN),
    output:
        receipt="<results>/observations/{observation}.json",
    log:
        "<logs>/fetch/{observation}.log",
    benchmark:
        "<benchmarks>/fetch/{observation}.tsv"
    retries: 3
    conda:
        "../envs/skystage.yaml"
    threads: 1
    resources:
        connections=config["jobs"],
    params:
        store=STORE,
    shell:
        "skystage fetch {input.plan:q} --store {params.store:q} --granule {wildcards.observation:q}"
        " --jobs {resources.connections} --released --json > {output.receipt:q}.part 2> {log:q}"
        " && mv {output.receipt:q}.part {output.receipt:q}"


# What was staged, as astroquery's own table says it.
rule astroquery_table:
    input:
        plan=PLAN,
        receipts=receipts,
    output:
        table="<results>/manifest.ecsv",
    log:
        "<logs>/astroquery.log",
    benchmark:
        "<benchmarks>/astroquery.tsv"
    conda:
        "../envs/skystage.yaml"
    threads: 1
    params:
        store=STORE,
    shell:
        "skystage manifest {input.plan:q} --store {params.store:q} -o {output.table:q} 2> {log:q}"
