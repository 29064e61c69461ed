"""How good each model version was on each day, measured as outcomes come in and estimated until they do.

In: predictions and outcomes. Out: the table `performance`, readings of quality, costs, views for SQL.
Read first: `performance_table`, then `quality_readings`.
"""
