# Asked for only if the plan holds any: no scene may have been kept, or none of Sentinel-1. What was
# released comes again: who runs this wants to read it.


rule fetch_orbits:
    input:
        plan=PLAN,
    output:
        SHARED_FILES["orbits"],
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
        which=orbit_keys,
        links=links,
    shell:
        "skystage fetch {input.plan:q} --store {params.store:q} {params.which}"
        " --jobs {resources.connections} {params.links} --released"
        " --json > {output.receipt:q}.part 2> {log:q}"
        " && mv {output.receipt:q}.part {output.receipt:q}"


rule pair_orbits:
    input:
        plan=PLAN,
        orbits="<results>/batches/orbits.json",
    output:
        table="<results>/orbits/orbits.json",
    log:
        "<logs>/orbits.log",
    benchmark:
        "<benchmarks>/orbits.tsv"
    conda:
        "../envs/skystage.yaml"
    threads: 1
    params:
        store=STORE,
        out=above(1),
    shell:
        "skystage derive orbits {input.plan:q} --store {params.store:q} -o {params.out:q} 2> {log:q}"


if LAYOUT:

    # The folder is no output: Snakemake would delete it before each run, and with it what a processor made.
    rule lay_out:
        input:
            plan=PLAN,
            receipts=receipts,
        output:
            table=f"<results>/{LAYOUT}/orbits.json",
        log:
            f"<logs>/{LAYOUT}.log",
        benchmark:
            f"<benchmarks>/{LAYOUT}.tsv"
        conda:
            "../envs/skystage.yaml"
        threads: 1
        params:
            store=STORE,
            out=above(1),
            layout=LAYOUT,
        shell:
            "skystage derive orbits {input.plan:q} --store {params.store:q} -o {params.out:q}"
            " --layout {params.layout} --symlink 2> {log:q}"
