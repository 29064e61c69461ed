"""Addresses in MLflow's pages, for pages elsewhere."""

import json
from datetime import datetime

import pytest

from contender.registry import ui_links
from contender.settings import Settings
from contender.values import ModelVersion

MODEL = ModelVersion("payments-prod", 3, "r1", "m1", "d", datetime.fromisoformat("2026-01-01"))


@pytest.mark.parametrize(
    ("tracking", "told"),
    [
        pytest.param("http://mlflow:5000/", "http://mlflow:5000", id="a server"),
        pytest.param("https://me:secret@mlflow/x", "https://mlflow/x", id="without its login"),
        pytest.param("sqlite:///mlflow.db", None, id="a file has no pages"),
    ],
)
def test_the_configured_server_has_the_pages(tmp_path, tracking, told):
    assert ui_links.mlflow(Settings(home=tmp_path, tracking_uri=tracking)) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (json.dumps({"mlflow": "http://127.0.0.1:5000"}), "http://127.0.0.1:5000"),
        ("{", None),
        ("[]", None),
        ('{"mlflow": null}', None),
    ],
)
def test_else_the_one_that_up_has_running(tmp_path, monkeypatch, text, told):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = Settings(home=tmp_path)
    settings.running.mkdir()
    (settings.running / "up.json").write_text(text)

    assert ui_links.mlflow(settings) == told


def test_a_line_links_version_and_run(tmp_path):
    told = ui_links.version_line(Settings(home=tmp_path, tracking_uri="http://mlflow"), MODEL)

    assert "[payments-prod version 3](http://mlflow/#/models/payments-prod/versions/3)" in told
    assert "[run r1](http://mlflow/#/runs/r1)" in told


def test_without_pages_a_line_has_the_names(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    assert ui_links.version_line(Settings(home=tmp_path), MODEL) == "MLflow: payments-prod version 3, run r1."
