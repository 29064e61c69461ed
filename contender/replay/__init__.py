"""A history played again under several policies of when to retrain, in scratch homes and by a simulated clock.

In: a use case's own past, or simulated payments with something injected. Out: results by policy, and a page.
Read first: `replay_results`, then `history` and `policies`.
"""
