if not LOCKED:

    checkpoint plan:
        output:
            plan="<results>/plan.ndjson",
        log:
            "<logs>/plan.log",
        benchmark:
            "<benchmarks>/plan.tsv"
        retries: 2
        conda:
            "../envs/skystage.yaml"
        params:
            query=json.dumps(config["query"], sort_keys=True, default=str),
        shell:
            "printf '%s' {params.query:q} | skystage plan - --explain -o {output.plan:q} 2> {log:q}"
