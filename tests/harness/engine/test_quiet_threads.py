"""What threads of a name print is dropped; everything else is not."""

from __future__ import annotations

import sys
import threading

from evalkit.harness.engine.quiet_threads import quiet_threads


def print_in(name, text):
    thread = threading.Thread(target=lambda: sys.stdout.write(f"{text}\n"), name=name)
    thread.start()
    thread.join()


def test_only_threads_of_the_name_are_quiet(capsys):
    before = sys.stdout
    with quiet_threads("ray_"):
        print_in("ray_listen", "a warning")
        print_in("photos_0", "a user's word")
        sys.stdout.write("a result\n")
        assert sys.stdout.encoding == before.encoding
    print_in("ray_listen", "afterwards")
    assert sys.stdout is before
    assert capsys.readouterr().out == "a user's word\na result\nafterwards\n"


def test_a_stream_that_was_replaced_stays(capsys, monkeypatch):
    other = sys.__stderr__
    with quiet_threads("ray_"):
        monkeypatch.setattr(sys, "stdout", other)
    assert sys.stdout is other
