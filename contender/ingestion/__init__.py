"""From landed bytes to `records`, `outcomes` and `quarantine`: accepted + quarantined + repeated = received.

In: files of any kind in a landing folder. Out: one batch in the lake, every refused row with its reasons.
Read first: `batches` (which files), `file_reader` (rows of text), `row_checks` (a row is refused here),
`quarantine` (a batch is refused here), `intake` (all of it in order), `retries` (what is held, and once more).
"""
