rule manifest:
    input:
        plan=PLAN,
        receipts=receipts,
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
        store=STORE,
    shell:
        "skystage manifest {input.plan:q} --store {params.store:q} -o {output.manifest:q} 2> {log:q}"
