from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from skystage.sandbox import Sandbox

SCENE = "S1A_IW_SLC__1SDV_20200102T133428_20200102T133455_030622_03BCF0_8F4F"
ORBIT = "AUX_POEORB/S1A_OPER_AUX_POEORB_OPOD_20200123T120722_V20200101T225942_20200103T005942.EOF"
BUCKET = "https://s1-orbits.s3.amazonaws.com"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="session")
def connect() -> Callable[[Sandbox], requests.Session]:
    def open_session(box: Sandbox) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        proxy = box.environ["HTTPS_PROXY"]
        assert proxy is not None
        session.proxies = {"http": proxy, "https": proxy}
        session.verify = box.environ["REQUESTS_CA_BUNDLE"]
        return session

    return open_session


@pytest.fixture
def session(box: Sandbox, connect: Callable[[Sandbox], requests.Session]) -> Iterator[requests.Session]:
    with connect(box) as session:
        yield session


@pytest.fixture
def scene() -> str:
    return SCENE


@pytest.fixture
def orbit_url() -> str:
    return f"{BUCKET}/{ORBIT}"


@pytest.fixture(scope="session")
def recordings() -> Path:
    default = Path(__file__).parents[3] / "shared" / "recordings"
    folder = Path(os.environ.get("SKYSTAGE_RECORDINGS", default))
    if not (folder / "earth").is_dir():
        pytest.skip("no recordings here; SKYSTAGE_RECORDINGS says where they are")
    return folder
