# Cutting is by batches too: a job reads the whole plan, 3 s for 40,000 products. A product may be skipped, for
# its clouds or because the area is not on it; then it has no rasters, and the receipt says why. So of a locked
# plan only those rasters are outputs that are sure to come.

COGS = []

if BANDS is not None and LOCKED:
    COGS_OF = cogs_of(LOCKED, BATCHES)
    COGS = sum(COGS_OF.values(), [])

    for number, files in COGS_OF.items():

        rule:
            name:
                f"extract_{number}"
            input:
                files_named_in(BANDS),
                plan=LOCKED,
                bands=f"<results>/batches/{number}-of-{BATCHES}.json",
            output:
                files,
                receipt=f"<results>/extracted/{number}-of-{BATCHES}.json",
            log:
                f"<logs>/extract/{number}-of-{BATCHES}.log",
            benchmark:
                f"<benchmarks>/extract/{number}-of-{BATCHES}.tsv"
            conda:
                "../envs/skystage.yaml"
            threads: 1
            params:
                batch=f"{number}/{BATCHES}",
                store=STORE,
                out=above(2, "bands"),
                options=band_options(BANDS),
            shell:
                "skystage derive bands {input.plan:q} --store {params.store:q} -o {params.out:q}"
                " --batch {params.batch} {params.options} --threads {threads}"
                " --json > {output.receipt:q}.part 2> {log:q}"
                " && mv {output.receipt:q}.part {output.receipt:q}"

elif BANDS is not None:

    rule extract_batch:
        input:
            files_named_in(BANDS),
            plan="<results>/plan.ndjson",
            bands="<results>/batches/{batch}-of-{batches}.json",
        output:
            receipt="<results>/extracted/{batch}-of-{batches}.json",
        log:
            "<logs>/extract/{batch}-of-{batches}.log",
        benchmark:
            "<benchmarks>/extract/{batch}-of-{batches}.tsv"
        conda:
            "../envs/skystage.yaml"
        threads: 1
        params:
            store=STORE,
            out=above(2, "bands"),
            options=band_options(BANDS),
        shell:
            "skystage derive bands {input.plan:q} --store {params.store:q} -o {params.out:q}"
            " --batch {wildcards.batch}/{wildcards.batches} {params.options} --threads {threads}"
            " --json > {output.receipt:q}.part 2> {log:q}"
            " && mv {output.receipt:q}.part {output.receipt:q}"


# One product, one job, for rules that take products one by one: docs/orchestrators.md. A plan that was made
# again is no reason to fetch or cut a product again.
rule fetch_bands:
    input:
        plan=ancient(PLAN),
    output:
        receipt="<results>/fetched/{product}.json",
    log:
        "<logs>/fetch/{product}.log",
    benchmark:
        "<benchmarks>/fetch/{product}.tsv"
    retries: 3
    conda:
        "../envs/skystage.yaml"
    threads: 1
    resources:
        connections=config["jobs"],
    params:
        store=STORE,
    shell:
        "skystage fetch {input.plan:q} --store {params.store:q} --granule {wildcards.product:q}"
        " --jobs {resources.connections} --released --json > {output.receipt:q}.part 2> {log:q}"
        " && mv {output.receipt:q}.part {output.receipt:q}"


if BANDS is not None:

    rule extract_bands:
        input:
            files_named_in(BANDS),
            plan=ancient(PLAN),
            bands="<results>/fetched/{product}.json",
        output:
            receipt="<results>/extracted/{product}.json",
        log:
            "<logs>/extract/{product}.log",
        benchmark:
            "<benchmarks>/extract/{product}.tsv"
        conda:
            "../envs/skystage.yaml"
        threads: 1
        params:
            store=STORE,
            out=above(2, "bands"),
            options=band_options(BANDS),
        shell:
            "skystage derive bands {input.plan:q} --store {params.store:q} -o {params.out:q}"
            " --granule {wildcards.product:q} {params.options} --threads {threads}"
            " --json > {output.receipt:q}.part 2> {log:q}"
            " && mv {output.receipt:q}.part {output.receipt:q}"


# Of what was cut, as it was cut; of whole tiles where nothing was cut, or several bands are in one file.
rule contact_sheet:
    input:
        plan=PLAN,
        receipts=receipts,
        extracted=extracted,
    output:
        sheet="<results>/sheet.png",
    log:
        "<logs>/sheet.log",
    benchmark:
        "<benchmarks>/sheet.tsv"
    conda:
        "../envs/skystage.yaml"
    threads: 1
    params:
        of=sheet_of,
        show=f"--show {shlex.quote(config['sheet'])}" if config["sheet"] else "",
    shell:
        "skystage derive sheet {params.of} {params.show} -o {output.sheet:q} 2> {log:q}"
