"""Whether this machine and installation are well, and how people are told when something is not.

In: settings, servers, errors. Out: findings with the command that mends them, one sentence per error, notices.
Read first: `doctor`, then `notices`.
"""
