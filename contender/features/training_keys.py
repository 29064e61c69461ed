"""Which records a model was trained on, as a compact set of key hashes that travels with it."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from contender.errors import SeenRows

Hashes = NDArray[np.uint64]


def hashes_of(keys: Iterable[str]) -> Hashes:
    """The sorted 64-bit hashes of keys, each once: 8 bytes a record.

    They are the same on every machine. That one of 50,000 judging keys shares its hash with one of 500,000 training
    keys by chance has a probability of about one in a billion.
    """
    import pandas as pd

    texts = np.array([str(key) for key in keys], dtype=object)
    return np.unique(pd.util.hash_array(texts, categorize=False)) if len(texts) else np.array([], dtype=np.uint64)


def refuse_seen(judging: Hashes, training: Hashes, model: str) -> None:
    """Return only if a model was trained on none of the judging records.

    Args:
        judging: shape (rows,), as `hashes_of` gives them.
        training: likewise.

    Raises:
        SeenRows: says how many it has seen.
    """
    seen = int(np.isin(judging, training, assume_unique=True).sum())
    if seen:
        raise SeenRows.by(model, seen=seen, rows=len(judging))
