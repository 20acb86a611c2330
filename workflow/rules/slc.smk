# One scene, one job, for rules that take scenes one by one. A plan that was made again is no reason to link
# a scene again, and with that to repeat all that was made of it: its name says which processing it is.


rule fetch_slc:
    input:
        plan=ancient(PLAN),
    output:
        slc="<results>/slc/{stack}/{scene}.zip",
    log:
        "<logs>/slc/{stack}/{scene}.log",
    benchmark:
        "<benchmarks>/slc/{stack}/{scene}.tsv"
    retries: 3
    conda:
        "../envs/skystage.yaml"
    threads: 1
    resources:
        connections=config["jobs"],
    params:
        store=STORE,
        into=above(2),
    shell:
        "skystage fetch {input.plan:q} --store {params.store:q} --granule {wildcards.scene:q} --asset data"
        " --jobs {resources.connections} --into {params.into:q} --layout stack --symlink --released"
        " 2> {log:q}"


# All of them; whoever needs a scene names the file.
rule slc:
    input:
        slcs,


# For a larger workflow, which adds to its input what was made of the scene: docs/orchestrators.md. Before
# anything else, because the next scene needs the room.
rule release_slc:
    input:
        plan=ancient(PLAN),
    output:
        receipt="<results>/released/{stack}/{scene}.json",
    log:
        "<logs>/released/{stack}/{scene}.log",
    priority: 2
    conda:
        "../envs/skystage.yaml"
    threads: 1
    params:
        store=STORE,
    shell:
        "skystage release {input.plan:q} --store {params.store:q} --granule {wildcards.scene:q} --asset data"
        " --json > {output.receipt:q}.part 2> {log:q}"
        " && mv {output.receipt:q}.part {output.receipt:q}"
