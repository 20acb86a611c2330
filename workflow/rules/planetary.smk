# Values of labels are in the plan already, where they filter. This is the table of those that were staged.

if LABELS:

    rule tabulate_labels:
        input:
            plan=PLAN,
            receipts=receipts,
        output:
            table=f"<results>/labels.{LABELS}",
        log:
            "<logs>/labels.log",
        benchmark:
            "<benchmarks>/labels.tsv"
        conda:
            "../envs/skystage.yaml"
        threads: 1
        params:
            store=STORE,
        shell:
            "skystage derive labels {input.plan:q} --store {params.store:q} -o {output.table:q} 2> {log:q}"


# A target of its own, for those who move bytes with rclone: `snakemake list_for_rclone`.
rule list_for_rclone:
    input:
        plan=PLAN,
    output:
        list="<results>/rclone.txt",
        config="<results>/rclone.conf",
    log:
        "<logs>/rclone.log",
    benchmark:
        "<benchmarks>/rclone.tsv"
    conda:
        "../envs/skystage.yaml"
    threads: 1
    shell:
        "skystage export {input.plan:q} --format rclone --config {output.config:q}"
        " > {output.list:q} 2> {log:q}"
