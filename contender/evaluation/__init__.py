"""How good models are and which one is better: pure statistics and rules, no I/O.

In: outcomes and scores of two models on the same rows. Out: metrics with intervals, guardrails, a verdict.
Read first: `judge`, then `bootstrap` (the gain) and `guardrails` (what must not break).
"""
