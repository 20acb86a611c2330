if not LOCKED:

    checkpoint filter_granules:
        input:
            files_named_in(config["query"]),
            granules="<results>/granules.ndjson",
        output:
            plan="<results>/plan.ndjson",
        log:
            "<logs>/filter.log",
        benchmark:
            "<benchmarks>/filter.tsv"
        conda:
            "../envs/skystage.yaml"
        params:
            query=as_text(config["query"]),
            empty="--allow-empty" if config["allow_empty"] else "",
        shell:
            "printf '%s' {params.query:q}"
            " | skystage plan - --from {input.granules:q} --explain {params.empty}"
            " -o {output.plan:q} 2> {log:q}"
