# The store is never an output: Snakemake deletes the outputs of a failed job, and with them would go
# what the next try continues. Outputs are receipts, or links into <results>/data.

if LOCKED:
    # The plan is known: one rule a batch, with the files themselves as outputs.
    BATCHES = count_batches(LOCKED)
    BATCH_OUTPUTS = {
        number: [
            f"<results>/data/{asset.path}"
            for asset in Plan(LOCKED).assets((number, BATCHES))
            if asset.key in (config["query"].get("assets") or ["data"])
        ]
        for number in range(1, BATCHES + 1)
    }

    for number, outputs in BATCH_OUTPUTS.items():

        rule:
            name:
                f"fetch_{number}"
            input:
                plan=LOCKED,
            output:
                outputs,
            log:
                f"<logs>/fetch/{number}-of-{BATCHES}.log",
            benchmark:
                f"<benchmarks>/fetch/{number}-of-{BATCHES}.tsv"
            retries: 3
            conda:
                "../envs/skystage.yaml"
            threads: 1
            resources:
                connections=config["jobs"],
            params:
                batch=f"{number}/{BATCHES}",
                store=config["store"],
                jobs=config["jobs"],
                which=KEYS,
            shell:
                "skystage fetch {input.plan:q} --store {params.store:q} --batch {params.batch}"
                " --jobs {params.jobs} {params.which} --into <results>/data 2> {log:q}"

else:

    rule fetch_batch:
        input:
            plan="<results>/plan.ndjson",
        output:
            receipt="<results>/batches/{batch}-of-{batches}.json",
        log:
            "<logs>/fetch/{batch}-of-{batches}.log",
        benchmark:
            "<benchmarks>/fetch/{batch}-of-{batches}.tsv"
        retries: 3
        conda:
            "../envs/skystage.yaml"
        threads: 1
        resources:
            connections=config["jobs"],
        params:
            store=config["store"],
            jobs=config["jobs"],
            which=KEYS,
        shell:
            "skystage fetch {input.plan:q} --store {params.store:q} --batch {wildcards.batch}/{wildcards.batches}"
            " --jobs {params.jobs} {params.which} --json > {output.receipt:q} 2> {log:q}"
