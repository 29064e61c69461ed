"""What all runs of flows share: names, tags, failures in one sentence, the lines on a terminal.

Read first: `flow_runs`.
"""
