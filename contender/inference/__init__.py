"""One scorer for batch, live and stream: a version's pipeline as plain arrays, proven equal to scikit-learn.

In: a model whose files were the approved ones. Out: its answers to frames, Arrow columns, and single records.
Read first: `scorer`.
"""
