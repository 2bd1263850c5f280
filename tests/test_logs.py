import subprocess
import sys

import pytest

from tests.server_process import environment

FAILING = """
import structlog
from app.logs import configure_logs
from app.settings import Settings

def verify(secret_key):
    raise RuntimeError("unforeseen")

configure_logs(Settings(log_format={form!r}))
try:
    verify("wJalr" + "XUtnFEMI")
except RuntimeError:
    structlog.get_logger().exception("unexpected_error")
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_values(form: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", FAILING.format(form=form)], env=environment(), capture_output=True, text=True, check=True
    )
    assert "unforeseen" in done.stderr
    assert "wJalrXUtnFEMI" not in done.stderr


TELLING = """
import structlog
from app.logs import configure_logs
from app.settings import Settings

configure_logs(Settings(log_format={form!r}))
structlog.get_logger().info("event", key={text!r}, ours="plain")
"""


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("text", ["\r\nforged", "\x1b[2J", "\x9b31m", "\u202e", "\x00"], ids=ascii)
def test_what_comes_from_outside_is_escaped(form: str, text: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", TELLING.format(form=form, text=text)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.count("\n") == 1
    assert done.stderr.strip("\n").isprintable()
    assert done.stderr.isascii()
    assert "plain" in done.stderr
