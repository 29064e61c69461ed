"""What a use case promises: `contract.toml`, parsed once into frozen, strict models.

In: the text of a contract. Out: a `Contract`, or one sentence with the line and the nearest right key.
Read first: `contract`, then `sections` (data and models) and `loop_sections` (the running loop).
"""
