"""What a command prints for programs."""

import json
from typing import Any

import click


def print_json(document: Any) -> None:
    """One document on standard output."""
    click.echo(json.dumps(document, indent=2, default=str))
