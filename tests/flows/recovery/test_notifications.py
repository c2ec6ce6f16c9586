"""Notifications reach a real receiver, are retried, and do not show their address."""

import logging

import pytest

from flows.recovery import notifications
from storage.environment import WEBHOOK
from storage.errors import ConfigError
from tests.webhook import SECRET, webhook


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(notifications, "_is_automated", lambda: False)


@pytest.mark.parametrize(("refusals", "taken"), [(0, True), (2, True), (3, False)])
def test_it_is_retried(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refusals: int,
    taken: bool,
) -> None:
    with webhook(refusals) as receiver:
        monkeypatch.setenv(WEBHOOK.name, receiver.url)
        with caplog.at_level(logging.WARNING, notifications.__name__):
            assert notifications.notify("stalled", "study x", "no sign of life", "id-1") == taken
    assert receiver.asked == min(refusals + 1, notifications.ATTEMPTS)
    assert [body["text"] for body in receiver.bodies] == [
        "study x stalled: no sign of life"
    ] * taken
    said = [record.getMessage() for record in caplog.records if record.name.startswith("flows")]
    assert len(said) == (not taken)
    assert SECRET not in "".join(said)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x", "nonsense", "http://[::1", "ftp://x/"])
def test_a_webhook_that_does_not_answer_or_is_no_address_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv(WEBHOOK.name, address)
    assert not notifications.notify("failed", "study x", "why")


def test_an_invalid_address_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK.name, f"hooks/{SECRET}")
    with pytest.raises(ConfigError) as caught:
        notifications.install(automated=False)
    assert SECRET not in str(caught.value)
    assert WEBHOOK.name in str(caught.value)


def test_without_a_webhook_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEBHOOK.name, raising=False)
    assert "init" in notifications.install(automated=False)
