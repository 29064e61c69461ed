"""Whether what arrives still looks like what the champion was trained on.

In: daily samples of the lake, and the champion's reference sample. Out: a row per column and check in `drift`.
Read first: `detection`, then `significance`.
"""
