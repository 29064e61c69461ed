"""From rows with outcomes to a trained, calibrated challenger, and the refusal of features that know the outcome.

In: training rows. Out: a fitted scikit-learn Pipeline with its parameters and figures.
Read first: `trainer`, then `candidates` and `search`; `leakage` is the gate before it.
"""
