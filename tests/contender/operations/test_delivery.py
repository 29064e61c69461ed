"""People are told by real HTTP; a notice is kept once; no secret is shown."""

import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from contender.errors import UsageError
from contender.operations import delivery, notices
from contender.settings import Settings

# Apprise loads all its services with the first address, one of which uses an old module.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SECRET = "s3cr3t-t0ken"


class Inbox(ThreadingHTTPServer):
    """A server on this machine that takes notifications, and answers as it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.status, self.delay_seconds = 200, 0.0
        self.taken: list[dict] = []

    def address(self, path: str = "") -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.server_port}/{path}"


class _Taker(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self):
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.server.delay_seconds)
        self.server.taken.append(content | {"path": self.path})
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def inbox():
    with Inbox() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def told(tmp_path):
    return lambda *addresses: Settings(home=tmp_path, notify=" ".join(addresses))


def test_the_title_names_use_case_and_event_and_the_body_has_sentence_and_link(told, inbox):
    settings = told(inbox.address())
    assert delivery.notify(settings, "promoted", "payments", "Version 3 holds the title.", "http://127.0.0.1/runs/1")
    [taken] = inbox.taken
    assert taken["title"] == "Contender: payments promoted"
    assert taken["message"] == "Version 3 holds the title.\nhttp://127.0.0.1/runs/1"
    assert notices.newest(settings) == []


def test_without_an_address_nobody_is_told_and_nothing_is_loaded(told, tmp_path):
    assert delivery.addresses(told()) == []
    assert delivery.notify(told(), "drift", "payments", "amount drifted")


def test_several_addresses_are_all_told(told, inbox):
    settings = Settings(home=told().home, notify=f" {inbox.address('a')}, {inbox.address('b')}\n{inbox.address('c')} ")
    assert delivery.notify(settings, "decay", "payments", "roc_auc fell")
    assert sorted(one["path"] for one in inbox.taken) == ["/a", "/b", "/c"]


def test_a_comma_inside_an_address_parts_nothing(told):
    address = "mailto://u:p@localhost?to=a@example.org,b@example.org"
    assert delivery.addresses(told(address, "json://127.0.0.1:1")) == [address, "json://127.0.0.1:1"]


@pytest.mark.parametrize("address", [f"nosuch://{SECRET}", SECRET, "slack://"])
def test_a_wrong_address_is_told_by_its_number_and_without_its_secret(told, address):
    with pytest.raises(UsageError, match="CONTENDER_NOTIFY: address 2 of 2 is not an address that Apprise") as error:
        delivery.addresses(told("json://127.0.0.1:1", address))
    assert SECRET not in str(error.value)


def test_an_address_that_fails_is_a_notice_and_stops_nobody(told, inbox, caplog):
    caplog.set_level(logging.DEBUG)
    inbox.status = 500
    good = Inbox()
    threading.Thread(target=good.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    settings = told(inbox.address(SECRET), good.address())
    assert not delivery.notify(settings, "flow failed", "payments", "The lake is full.")
    good.shutdown()
    good.server_close()
    assert len(good.taken) == 1
    [notice] = notices.newest(settings)
    assert notice.kind == "notification failed"
    assert notice.sentence == (
        "1 of 2 addresses of CONTENDER_NOTIFY did not take 'Contender: payments flow failed': The lake is full."
    )
    assert notice.sentence in caplog.text
    assert SECRET not in caplog.text
    assert SECRET not in notice.sentence


def test_an_address_that_hangs_is_given_up(told, inbox, monkeypatch):
    monkeypatch.setattr(delivery, "SECONDS", 0.2)
    inbox.delay_seconds = 1.0
    settings = told(inbox.address())
    assert not delivery.notify(settings, "drift", "payments", "amount drifted")
    assert [one.kind for one in notices.newest(settings)] == ["notification failed"]


def test_a_ledger_that_is_away_does_not_stop_the_work_either(told, inbox, tmp_path, caplog):
    inbox.status = 500
    broken = Settings(home=tmp_path, notify=inbox.address(), ledger_url=f"sqlite:///{tmp_path}")
    assert not delivery.notify(broken, "drift", "payments", "amount drifted")
    assert "could not be kept" in caplog.text


def test_what_several_tell_is_told_once(told, inbox):
    settings = told(inbox.address())
    for _ in range(2):
        assert delivery.notify(settings, "flow failed", "payments", "The lake is full.", "http://run", id="r1")
    assert len(inbox.taken) == 1
    [notice] = notices.newest(settings, "payments")
    assert (notice.id, notice.kind, notice.sentence, notice.link) == (
        "r1",
        "flow failed",
        "The lake is full.",
        "http://run",
    )


def test_what_cannot_be_kept_is_told_all_the_same(told, inbox, tmp_path):
    broken = Settings(home=tmp_path, notify=inbox.address(), ledger_url=f"sqlite:///{tmp_path}")
    assert delivery.notify(broken, "drift", "payments", "amount drifted", id="e1")
    assert len(inbox.taken) == 1


def test_notices_are_read_newest_first_of_one_use_case_or_of_all(told):
    settings = told()
    for number, use_case in enumerate(("payments", "bikes", "", "payments")):
        assert notices.keep(settings, "drift", use_case, f"notice {number}")
    assert [one.sentence for one in notices.newest(settings)] == ["notice 3", "notice 2", "notice 1", "notice 0"]
    assert [one.sentence for one in notices.newest(settings, "payments", 1)] == ["notice 3"]
    assert [one.sentence for one in notices.newest(settings, "payments")] == ["notice 3", "notice 0"]


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("Flow run encountered an exception: BatchRefused: 9 of 10 rows fail.", "9 of 10 rows fail."),
        ("Flow run encountered an exception: contender.errors.Busy: Wait.", "Wait."),
        ("Flow run encountered an exception: KeyError: 'a'", "KeyError: 'a'"),
        (
            "Flow run encountered an exception: Py4JJavaError: An error occurred while calling o79.save.\n"
            ": org.apache.spark.SparkException: Job aborted\n\tat org.apache.spark.Here(There.scala:1)\n",
            "org.apache.spark.SparkException: Job aborted",
        ),
        ("No login for http://me:secret@host/api\nmore", "No login for http://host/api"),
        ("", ""),
        ("  \n\n one \n two", "one"),
    ],
)
def test_of_a_message_one_sentence_is_told(message, sentence):
    assert notices.one_sentence(message) == sentence


def test_a_sentence_is_never_a_page():
    assert len(notices.one_sentence("word " * 1000)) <= notices.LONGEST


NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)


def ended(settings, flow, hour, sentence="", run=None, use_case="orders"):
    at = NOON + timedelta(hours=hour)
    notices.keep_end(settings, use_case, flow, run or f"{flow} {hour}", sentence, at)


def test_a_flow_that_failed_last_is_known_with_how_often_since_it_did_what_it_should(tmp_path):
    settings = Settings(home=tmp_path)
    for hour, sentence in enumerate(["first", "", "second", "third"]):
        ended(settings, "retrain", hour, sentence)
    ended(settings, "ingest", 9)
    ended(settings, "score", 1, "no model")
    ended(settings, "score", 1, "of others", use_case="flights")

    retrain, score = notices.failing(settings, "orders")
    assert (retrain.flow, retrain.at, retrain.sentence, retrain.times) == (
        "retrain",
        NOON + timedelta(hours=3),
        "third",
        2,
    )
    assert (score.flow, score.times) == ("score", 1)
    assert retrain.in_words == "'retrain' failed at 2026-01-10 15:00 UTC, 2 times in a row: third"
    assert score.in_words == "'score' failed at 2026-01-10 13:00 UTC: no model"


def test_a_success_settles_what_failed_before_also_what_is_told_of_late_or_twice(tmp_path):
    settings = Settings(home=tmp_path)
    ended(settings, "retrain", 0, "as the run itself says", run="a")
    ended(settings, "retrain", 0, "as the watcher says", run="a")
    assert [(one.sentence, one.times) for one in notices.failing(settings, "orders")] == [("as the run itself says", 1)]

    ended(settings, "retrain", 2)
    ended(settings, "retrain", 1, "told of late")
    assert notices.failing(settings, "orders") == []


def test_a_sentence_is_kept_with_the_path_at_its_end(tmp_path):
    sentence = f"The step failed: {'x' * 300}; the whole of it is in {tmp_path / ('y' * 150)}: report it."

    assert notices.one_sentence(sentence) == sentence
