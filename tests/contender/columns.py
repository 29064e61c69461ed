"""Columns of a contract, in a word each."""

from contender.contracts.sections import Column


def number(**form):
    return Column(type="number", **form)


def whole(**form):
    return Column(type="integer", **form)


def time(*formats, **form):
    return Column(type="timestamp", format=formats or None, **form)
