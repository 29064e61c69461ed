"""`contender init`: a contract drafted from somebody's own files, with a comment at every guess.

In: files and a target. Out: `contract.toml` and a README for the use case.
Read first: `contract_draft`, then `column_types`.
"""
