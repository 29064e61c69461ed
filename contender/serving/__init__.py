"""Live scores over HTTP: the champion of the ledger answers single records and small batches within milliseconds.

In: requests in the forms of MLflow's, Azure's and the Open Inference Protocol's servers. Out: score, prediction, band.
Read first: `door` (what a record may hold; a request is refused here), `title_copy` (who is champion, and the verified
copy that answers when ledger and registry are gone), `application` (routes), `workers` (processes).
"""
