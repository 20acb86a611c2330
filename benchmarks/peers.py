"""The peers that are libraries: each brings a list of files the way its own documentation does.

``peers.py NAME LIST OUT CONNECTIONS``, where LIST is a JSON list of objects with url, name, member and auth.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.request
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Files = Sequence[dict[str, Any]]


def asf_search(files: Files, out: Path, connections: int) -> None:
    """``download_urls``: one after the other, or with processes."""
    from asf_search import ASFSession, download_urls

    download_urls([file["url"] for file in files], str(out), ASFSession(), processes=connections)


def astroquery(files: Files, out: Path, connections: int) -> None:
    """The call that ``Observations.download_file`` makes for each product of MAST."""
    del connections
    from astroquery.mast import Observations

    for file in files:
        Observations._download_file(  # noqa: SLF001 - MAST's own address is built in before this
            file["url"],
            str(out / file["name"]),
            cache=True,
            head_safe=True,
            continuation=False,
            verbose=False,
        )


def parfive(files: Files, out: Path, connections: int) -> None:
    """A Downloader without its bars."""
    from parfive import Downloader

    downloader = Downloader(max_conn=connections, progress=False)
    for file in files:
        downloader.enqueue_file(file["url"], path=str(out), filename=file["name"])
    errors = downloader.download().errors
    if errors:
        raise RuntimeError(errors[0])


def requests(files: Files, out: Path, connections: int) -> None:
    """One ``requests.get`` a file, without a session: what most scripts do."""
    del connections
    import requests

    for file in files:
        answer = requests.get(file["url"], timeout=60)
        answer.raise_for_status()
        (out / file["name"]).write_bytes(answer.content)


def urllib_(files: Files, out: Path, connections: int) -> None:
    """The standard library, one file after the other."""
    del connections
    for file in files:
        with urllib.request.urlopen(file["url"], timeout=60) as answer, (out / file["name"]).open("wb") as to:
            shutil.copyfileobj(answer, to)


def boto3(files: Files, out: Path, connections: int) -> None:
    """``download_file``, one after the other."""
    del connections
    import boto3

    client = boto3.client("s3")
    for file in files:
        parts = urlsplit(file["url"])
        client.download_file(parts.netloc, parts.path.lstrip("/"), str(out / file["name"]))


def obstore(files: Files, out: Path, connections: int) -> None:
    """An S3Store, in threads."""
    from obstore.store import S3Store

    store = S3Store(
        urlsplit(files[0]["url"]).netloc,
        endpoint=os.environ["AWS_ENDPOINT_URL_S3"],
        client_options={"allow_http": True},
    )

    def one(file: dict[str, Any]) -> None:
        (out / file["name"]).write_bytes(store.get(urlsplit(file["url"]).path.lstrip("/")).bytes())

    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(one, files))


def remotezip(files: Files, out: Path, connections: int) -> None:
    """Members of a remote zip, one after the other."""
    del connections
    from remotezip import RemoteZip

    headers = _logged_in() if files[0]["auth"] == "cdse" else {}
    for file in files:
        to = (out / file["name"]).open("wb")
        zipped = RemoteZip(file["url"], headers=headers)
        with to, zipped as archive, archive.open(file["member"]) as member:
            shutil.copyfileobj(member, to)


def whole_zips(files: Files, out: Path, connections: int) -> None:
    """Log in, download each product whole, unzip it, keep the one file, throw the rest away."""
    del connections
    import requests

    session = requests.Session()
    session.headers.update(_logged_in())
    for file in files:
        product, folder = out.with_name("product.zip"), out.with_name("product")
        with session.get(file["url"], stream=True, timeout=60) as answer, product.open("wb") as to:
            answer.raise_for_status()
            for block in answer.iter_content(1 << 20):
                to.write(block)
        with zipfile.ZipFile(product) as archive:
            archive.extractall(folder)
        shutil.copy(folder / file["member"], out / file["name"])
        shutil.rmtree(folder)
        product.unlink()


def _logged_in() -> dict[str, str]:
    """The header of somebody who has sent the password to the Copernicus Data Space."""
    import requests

    form = {
        "grant_type": "password",
        "client_id": "cdse-public",
        "username": os.environ["CDSE_USERNAME"],
        "password": os.environ["CDSE_PASSWORD"],
    }
    realm = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE"
    answer = requests.post(f"{realm}/protocol/openid-connect/token", data=form, timeout=60)
    answer.raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


PEERS = {
    "asf_search": asf_search,
    "astroquery": astroquery,
    "boto3": boto3,
    "obstore": obstore,
    "parfive": parfive,
    "remotezip": remotezip,
    "requests": requests,
    "urllib": urllib_,
    "whole_zips": whole_zips,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]), int(sys.argv[4]))
