"""The door to MLflow, and the files of a model: nothing unapproved is opened.

In: models with what is known of them. Out: versions, aliases, runs, and models loaded by digest and list of types.
Read first: `model_versions`, then `model_files` and `trusted_types`.
"""
