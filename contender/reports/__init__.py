"""Pages for people: the report of a title and the dashboard, complete without a network or a script.

In: ledger, registry and lake, read without Spark. Out: HTML.
Read first: `title_page` and `dashboard_page`.
"""
