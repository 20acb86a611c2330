# The store is never an output: Snakemake deletes the outputs of a failed job, and with them would go
# what the next try continues. Outputs are receipts and, of a locked plan, links below <results>/data.
# A receipt appears whole or not at all: behind a checkpoint Snakemake does not notice that it was killed while
# a job wrote its output. The links are symbolic: Snakemake touches all outputs of a job, and a hard link is the store's file.

if LOCKED:
    BATCHES = count_batches(locked_header(LOCKED))
    BATCH_FILES, SHARED_FILES = files_of(LOCKED, BATCHES)
    FILES = sum([*BATCH_FILES.values(), *SHARED_FILES.values()], [])

    for number, files in BATCH_FILES.items():

        rule:
            name:
                f"fetch_{number}"
            input:
                plan=LOCKED,
            output:
                files,
                receipt=f"<results>/batches/{number}-of-{BATCHES}.json",
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
                store=STORE,
                which=batch_keys,
                links=links,
            shell:
                "skystage fetch {input.plan:q} --store {params.store:q} --batch {params.batch} {params.which}"
                " --jobs {resources.connections} {params.links} --released"
                " --json > {output.receipt:q}.part 2> {log:q}"
                " && mv {output.receipt:q}.part {output.receipt:q}"

else:
    FILES, SHARED_FILES = [], {companion: [] for companion in SHARED}

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
            store=STORE,
            which=batch_keys,
        shell:
            "skystage fetch {input.plan:q} --store {params.store:q}"
            " --batch {wildcards.batch}/{wildcards.batches} {params.which}"
            " --jobs {resources.connections} --json > {output.receipt:q}.part 2> {log:q}"
            " && mv {output.receipt:q}.part {output.receipt:q}"
