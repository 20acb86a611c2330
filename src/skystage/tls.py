"""Whom to trust: one rule for every client that skystage uses."""

from __future__ import annotations

import os


def bundle() -> str | None:
    """The certificate bundle of the user's environment; None for a client's own.

    The variables that requests reads, then curl's, then OpenSSL's. Every client is told: urllib3 reads
    none of them, requests not the last, botocore a variable of its own, and GDAL another one.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if path := os.environ.get(name):
            return path
    return None
