"""The story: one file per flow of Prefect here, and in folders what people and machines start it with.

Read first: `pipeline`, which is the whole job, then `retrain`.
"""
