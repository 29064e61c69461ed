"""The door to Spark, Delta and delta-rs: nobody else opens a table or starts a session.

In: names of tables, frames to append, settings. Out: frames, rows, sessions, locks on one use case.
Read first: `tables`; `shared_spark` and `spark_keeper` when a run should attach to a Spark that is warm already.
"""
