"""The commands: what a person types, and the last lines that are printed.

In: arguments. Out: text for 80 columns, or one JSON document with `--json`.
Read first: `main`.
"""
