"""What asks for a retrain: symptoms of a window, what they mean, and whether a challenger is worth its training.

In: drift, quality, the feed's own health, alarms. Out: a diagnosis, the next action, at most one retrain.
Read first: `triage`, then `policy` and `triggers`.
"""
