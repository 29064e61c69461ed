"""`contender up`: everything that runs for good on this machine, supervised until it is ended.

Read first: `startup`, then `services` (what is started) and `installation` (what Prefect is told).
"""
