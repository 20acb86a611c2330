# Tiles that stacks share are fetched once. A raster's name says how it was made; rules name the link to it.


rule fetch_dem:
    input:
        plan=PLAN,
    output:
        SHARED_FILES["dem"],
        receipt="<results>/batches/dem.json",
    log:
        "<logs>/fetch/dem.log",
    benchmark:
        "<benchmarks>/fetch/dem.tsv"
    retries: 3
    conda:
        "../envs/skystage.yaml"
    threads: 1
    resources:
        connections=config["jobs"],
    params:
        store=STORE,
        which=dem_keys,
        links=links,
    shell:
        "skystage fetch {input.plan:q} --store {params.store:q} {params.which}"
        " --jobs {resources.connections} {params.links} --released"
        " --json > {output.receipt:q}.part 2> {log:q}"
        " && mv {output.receipt:q}.part {output.receipt:q}"


rule stitch_dem:
    input:
        plan=PLAN,
        tiles="<results>/batches/dem.json",
    output:
        [f"<results>/dem/{{stack}}{ending}" for ending in DEM_ENDINGS],
    log:
        "<logs>/dem/{stack}.log",
    benchmark:
        "<benchmarks>/dem/{stack}.tsv"
    conda:
        "../envs/skystage.yaml"
    threads: 1
    params:
        store=STORE,
        out=above(1),
        raster=lambda wildcards, output: output[0],
    shell:
        "raster=$(skystage derive dem {input.plan:q} --store {params.store:q} -o {params.out:q}"
        " --stack {wildcards.stack:q} 2> {log:q}) && "
        "for link in {output:q}; do"
        ' ln -sfn "$(basename "$raster")${{link#{params.raster:q}}}" "$link"; done'
