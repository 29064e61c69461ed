"""Contender keeps the best model in production by itself: what things mean, and one door per outside system."""
