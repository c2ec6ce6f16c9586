import logging
import sys

import pytest

from training.jobs.progress_rows import log_lines, songs_progress


def test_a_long_song_is_told_of_in_tenths(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tell = log_lines(2, 3, "a.mp3")
    for done in range(4, 401, 4):
        tell(done, 400)
    said = [record.message for record in caplog.records]
    assert said[0] == "song 2/3 a.mp3 chunk 40/400"
    assert len(said) == 9
    caplog.clear()
    log_lines(1, 1, "short.mp3")(1, 1)
    assert not caplog.records


def test_a_bar_is_drawn_where_someone_watches(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with songs_progress() as watch:
        watch(1, 2, "a.mp3")(4, 4)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    stream = sys.stderr
    handler = logging.StreamHandler(stream)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with songs_progress() as watch:
        # A name is no markup.
        for number, name in enumerate(("a.mp3", "b[red].mp3"), 1):
            tell = watch(number, 2, name)
            tell(2, 4)
            tell(4, 4)
            logging.getLogger("x").warning("line of %s", name)
    shown = capfd.readouterr().err
    assert "2/2 b[red].mp3" in shown
    assert shown.count("line of a.mp3") == 1
    assert handler.stream is stream
