"""``python -m evalkit``: runs a command, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import cyclopts

import evalkit
from evalkit.cli.audit import audit
from evalkit.cli.compare import compare
from evalkit.cli.explain import explain
from evalkit.cli.export import export
from evalkit.cli.gate import baseline, check
from evalkit.cli.listing import list_
from evalkit.cli.merge import merge
from evalkit.cli.report import report
from evalkit.cli.run import run
from evalkit.cli.score import score
from evalkit.cli.show import show
from evalkit.cli.thresholds import thresholds
from evalkit.cli.validate import validate
from evalkit.core.errors import EvalkitError
from evalkit.core.names import escaped

__all__ = ["build_app", "main"]

_BAD_INPUT, _INTERNAL, _INTERRUPTED, _TERMINATED = 2, 4, 130, 143

_COMMANDS: dict[str, Callable[..., None]] = {
    "run": run,
    "explain": explain,
    "score": score,
    "merge": merge,
    "show": show,
    "compare": compare,
    "audit": audit,
    "baseline": baseline,
    "check": check,
    "thresholds": thresholds,
    "report": report,
    "export": export,
    "list": list_,
    "validate": validate,
}


_ends_at_once = threading.Event()
_terminated = threading.Event()  # Ray's native code turns every exception of a handler into KeyboardInterrupt


def build_app() -> cyclopts.App:
    """Return the command line with all commands."""
    app = cyclopts.App(
        name="python -m evalkit",
        help="How good is a visual explanation? Scores saliency maps of Keras image classifiers for faithfulness and "
        "localization.",
        version=evalkit.__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, command in _COMMANDS.items():
        app.command(command, name=name)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 fine, 2 bad usage or input, 3 not comparable, 4 a defect, 130/143 interrupted."""
    code = _exit_code(list(sys.argv[1:] if arguments is None else arguments))
    if _ends_at_once.is_set():
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    arguments = _with_negative_values([argument for argument in arguments if argument != "--debug"])
    _terminated.clear()
    _ends_at_once.clear()
    signal.signal(signal.SIGTERM, _terminate)
    _replace_unencodable()
    try:
        build_app()(arguments, exit_on_error=False, print_error=False)
    except KeyboardInterrupt:
        if _terminated.is_set():
            return _print_error("terminated; repeat the command to resume", _TERMINATED)
        return _print_error("interrupted; repeat the command to resume", _INTERRUPTED)
    except BrokenPipeError:
        # The reader of stdout has closed the pipe; the rest of the output must not be flushed into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit:
        raise
    except BaseException as error:  # any other error: exit code 1 is reserved for explanations that got worse
        if debug and not isinstance(error, cyclopts.CycloptsError):
            raise
        return _print_error(*_message_and_code(error, arguments))
    return 0


def _with_negative_values(arguments: Sequence[str]) -> list[str]:
    """Join an option with a value such as ``-1..1``, which would be taken for an option itself."""
    joined: list[str] = []
    for argument in arguments:
        if re.match(r"-[.\d]", argument) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _message_and_code(error: BaseException, arguments: Sequence[str]) -> tuple[str, int]:
    """Return the message for an error, and the exit code."""
    if isinstance(error, EvalkitError):
        if error.ends_process:
            _ends_at_once.set()
        return str(error), error.exit_code
    if isinstance(error, cyclopts.CycloptsError):
        return f"{_usage_error(error)} See: python -m evalkit {_command_name(arguments)}--help", _BAD_INPUT
    if isinstance(error, OSError):
        return f"{error.filename or 'the output'}: {error.strerror or error}", _BAD_INPUT
    if isinstance(error, UnicodeEncodeError) and error.encoding == "ascii":
        return f"{error.object!a} cannot be written in ASCII, this system's encoding; set PYTHONUTF8=1", _BAD_INPUT
    if isinstance(error, MemoryError):
        detail = f": {error}" if str(error) else ""
        advice = "free some, or use smaller batches or fewer images (--batch-size, --limit)"
        return f"there is not enough memory{detail}; {advice}", _BAD_INPUT
    return f"internal error: {type(error).__name__}: {error}; repeat with --debug and report it", _INTERNAL


def _usage_error(error: cyclopts.CycloptsError) -> str:
    if isinstance(error, cyclopts.UnusedCliTokensError):
        words = ", ".join(f"'{escaped(word)}'" for word in error.unused_tokens or ())
        return f"{words}: not expected here; values with spaces or parentheses need quotes."
    return " ".join(str(error).split())


def _replace_unencodable() -> None:
    """Replace characters that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _command_name(arguments: Sequence[str]) -> str:
    return f"{arguments[0]} " if arguments and arguments[0] in _COMMANDS else ""


def _print_error(message: str, code: int) -> int:
    print(f"evalkit: {escaped(message)}", file=sys.stderr)  # noqa: T201 - what the command line is for
    return code


def _terminate(_number: int, _frame: FrameType | None) -> None:
    """Handle SIGTERM like Ctrl-C."""
    _terminated.set()
    raise KeyboardInterrupt
