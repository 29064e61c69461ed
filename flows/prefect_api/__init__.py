"""The client of Prefect's API, and what Prefect is told to run.

Read first: `client`, then `deployments`.
"""
