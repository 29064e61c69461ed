"""What a model is given: a record's own columns, look-ups, and history as known at the record's time.

In: tables of the lake. Out: the table `features`, and training and judging rows split by time.
Read first: `transforms`, then `dataset`.
"""
