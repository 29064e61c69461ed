"""Sees files land and announces them; reads Prefect's events and writes down what became of them.

Read first: `watcher`, then `arrivals`.
"""
