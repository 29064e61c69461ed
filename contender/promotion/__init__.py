"""Who may take the title, and who holds it: the ledger decides, MLflow's aliases follow.

In: a challenger, a champion, judging rows, sometimes a person's answer. Out: entries of the ledger.
Read first: `comparison` (both are judged), `title` (it is handed over), `ledger` (the one transaction that counts).
"""
