"""Notifications reach a real receiver, are tried again, and keep their address to themselves."""

import logging

import pytest

from flows.recovery import notifications
from storage.errors import ConfigError
from tests.webhook import SECRET, webhook


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(notifications, "_is_automated", lambda: False)


@pytest.mark.parametrize(("refusals", "taken"), [(0, True), (2, True), (3, False)])
def test_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refusals: int,
    taken: bool,
) -> None:
    with webhook(refusals) as receiver:
        monkeypatch.setenv(notifications.WEBHOOK, receiver.url)
        with caplog.at_level(logging.WARNING, notifications.__name__):
            assert notifications.tell("stalled", "study x", "no sign of life", "id-1") == taken
    assert receiver.asked == min(refusals + 1, notifications.ATTEMPTS)
    assert [body["text"] for body in receiver.bodies] == [
        "study x stalled: no sign of life"
    ] * taken
    said = [record.getMessage() for record in caplog.records if record.name.startswith("flows")]
    assert len(said) == (not taken)
    assert SECRET not in "".join(said)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x", "nonsense", "http://[::1", "ftp://x/"])
def test_a_webhook_that_is_away_or_none_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv(notifications.WEBHOOK, address)
    assert not notifications.tell("failed", "study x", "why")


def test_what_is_no_address_is_refused_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notifications.WEBHOOK, f"hooks/{SECRET}")
    with pytest.raises(ConfigError) as caught:
        notifications.install(automated=False)
    assert SECRET not in str(caught.value)
    assert notifications.WEBHOOK in str(caught.value)


def test_nobody_asked_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(notifications.WEBHOOK, raising=False)
    assert "init" in notifications.install(automated=False)
