"""Fetches a model that the ledger approved: `python -m contender.serving.model_fetch USE_CASE VERSION DIGEST`.

A process of its own, because MLflow's client takes 200 MB and seconds to import, and a server has no other use for it.
"""

import sys

from contender import error_text
from contender.promotion.eligibility import check_digest
from contender.registry import model_versions
from contender.settings import Settings


def fetch(use_case: str, version: int, digest: str) -> None:
    """Put the verified files of a version where `title_copy` looks for them.

    Raises:
        UntrustedModel: they are not those that were approved.
        Unavailable: MLflow does not answer, or the artifacts are gone.
    """
    settings = Settings()
    found = model_versions.find(settings, use_case, version)
    check_digest(found, digest)
    model_versions.fetch_approved(settings, found, digest)


if __name__ == "__main__":
    with error_text.process("fetching a model"):
        fetch(sys.argv[1], int(sys.argv[2]), sys.argv[3])
