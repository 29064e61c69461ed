"""The steps: each reads, calls one function of contender, and writes."""
