if not LOCKED:

    checkpoint plan:
        input:
            area=AREA_FILE,
        output:
            plan="<results>/plan.ndjson",
        log:
            "<logs>/plan.log",
        benchmark:
            "<benchmarks>/plan.tsv"
        conda:
            "../envs/skystage.yaml"
        params:
            query=json.dumps(config["query"], sort_keys=True, default=str),
            empty="--allow-empty" if config["allow_empty"] else "",
        shell:
            "printf '%s' {params.query:q}"
            " | skystage plan - --explain {params.empty} -o {output.plan:q} 2> {log:q}"
