"""Unique identifiers, as IAM gives them to users and access keys: a prefix that tells the kind, then 16 characters."""

import secrets

USER = "PGSU"
# AWS's own keys begin with AKIA and ASIA, and leak scanners would report ours as AWS's.
ACCESS_KEY = "PGSV"
TEMPORARY_ACCESS_KEY = "PGST"

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def new_id(prefix: str) -> str:
    """80 bits of it are random."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(16))
