"""A bucket on a real S3 server."""

from collections.abc import Iterator

import pytest

from tests.servers import s3_server
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a bucket, which the environment gives access to."""
    import httpx

    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    httpx.put(f"{s3}/bucket", timeout=PATIENCE_S)
    return "s3://bucket"
