"""From a champion to predictions, and to the reasons for one of them.

In: records that the champion has not scored. Out: rows of `predictions` and `alerts`, one per record.
Read first: `batch_scoring`.
"""
