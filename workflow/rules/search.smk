# Its params are only what the archive is asked: to change a filter is not to search again.

if not LOCKED:

    rule search:
        input:
            files_named_in(config["query"]),
        output:
            granules="<results>/granules.ndjson",
        log:
            "<logs>/search.log",
        benchmark:
            "<benchmarks>/search.tsv"
        conda:
            "../envs/skystage.yaml"
        params:
            query=as_text(
                {
                    key: value
                    for key, value in config["query"].items()
                    if key not in AFTERWARDS
                }
            ),
        shell:
            "printf '%s' {params.query:q}"
            " | skystage search - --allow-empty -o {output.granules:q} 2> {log:q}"
