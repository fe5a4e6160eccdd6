"""The `flowtape` command."""

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, Any

import typer

from flowtape import __version__
from flowtape.cli import (
    backtest_command,
    branch_command,
    export_commands,
    fetch_command,
    housekeeping_commands,
    live_commands,
    play_commands,
    session_commands,
    tape_commands,
    venue_commands,
    watch_command,
)
from flowtape.stream.errors import FlowError

app = typer.Typer(
    name="flowtape",
    help="Record a market's tape, replay it at any speed, paper-trade on it, watch it.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(play_commands.demo)
app.command("replay")(play_commands.replay)
app.command("backtest")(backtest_command.backtest)
app.command("fetch")(fetch_command.fetch)
app.command("import")(tape_commands.import_)
app.command("doctor")(tape_commands.doctor)
app.command("tapes")(tape_commands.tapes)
app.command("sessions")(session_commands.sessions)
app.command("verify")(session_commands.verify)
app.command("branch")(branch_command.branch)
app.command("export")(export_commands.export)
app.command("unpack")(export_commands.unpack)
app.command("prune")(housekeeping_commands.prune)
app.command("live")(live_commands.live)
app.command("record")(live_commands.record)
app.command("watch")(watch_command.watch)
app.command("serve")(venue_commands.serve)

# The base of what the parser of the command line raises, which Typer does not name.
_USAGE_ERROR: Any = typer.BadParameter.__bases__[0]

_INTERRUPTED = 130
_TERMINATED = 143


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"flowtape {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del debug, version


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits 0, 1 or 2, or 130 and 143 when stopped half-way.

    `--debug` may stand anywhere.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        # Cleans up behind itself like Ctrl-C does.
        signal.signal(signal.SIGTERM, _terminate)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words or ["--help"], prog_name="flowtape", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except SystemExit as end:
        code = end.code
    except BrokenPipeError:
        # Whoever read our output has gone; what Python still holds of it must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            traceback.print_exc()
        typer.echo(f"flowtape: {_line(error, words)}", err=True)
        sys.exit(2)
    if code in (_INTERRUPTED, _TERMINATED):
        typer.echo("flowtape: stopped", err=True)
    if code:
        sys.exit(code)


def _line(error: Exception, words: list[str]) -> str:
    if isinstance(error, FlowError):
        return " ".join(str(error).split())
    if isinstance(error, _USAGE_ERROR):
        named = [name for name in words[:1] if not name.startswith("-")]
        names = [name for name in named if name in {c.name for c in app.registered_commands}]
        said = " ".join(str(error.format_message()).rstrip(".").split())
        return f"{said[:1].lower()}{said[1:]}; see {' '.join(['flowtape', *names])} --help"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"this should not have happened: {said}; --debug shows where"


def _terminate(_number: int, _frame: FrameType | None) -> None:
    sys.exit(_TERMINATED)


if __name__ == "__main__":
    main()
