# A target of its own: `snakemake draw_map`.


rule draw_map:
    input:
        plan=PLAN,
    output:
        map="<results>/footprints.html",
    log:
        "<logs>/map.log",
    benchmark:
        "<benchmarks>/map.tsv"
    conda:
        "../envs/skystage.yaml"
    threads: 1
    shell:
        "skystage map {input.plan:q} -o {output.map:q} 2> {log:q}"
