rule manifest:
    input:
        plan=LOCKED or "<results>/plan.ndjson",
        staged=(
            [outputs for batch in BATCH_OUTPUTS.values() for outputs in batch]
            if LOCKED
            else batch_receipts
        ),
        orbits=["<results>/orbits.json"] if WITH_ORBITS else [],
    output:
        manifest="<results>/items.json",
        checksums="<results>/checksums.txt",
    log:
        "<logs>/manifest.log",
    benchmark:
        "<benchmarks>/manifest.tsv"
    conda:
        "../envs/skystage.yaml"
    params:
        store=config["store"],
    shell:
        "skystage manifest {input.plan:q} --store {params.store:q} -o {output.manifest:q} 2> {log:q}"
