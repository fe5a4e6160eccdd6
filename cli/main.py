"""The `flowtape` command."""

import sys
import traceback
from typing import Annotated

import typer

from flowtape import __version__
from flowtape.cli import live_commands, play_commands, tape_commands
from flowtape.stream.errors import FlowError

app = typer.Typer(
    name="flowtape",
    help="Record a market's tape, replay it at any speed, paper-trade on it, watch it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(play_commands.demo)
app.command("replay")(play_commands.replay)
app.command("backtest")(play_commands.backtest)
app.command("import")(tape_commands.import_)
app.command("doctor")(tape_commands.doctor)
app.command("tapes")(tape_commands.tapes)
app.command("live")(live_commands.live)
app.command("record")(live_commands.record)


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
    """Run the command line; exits 0, 1 or 2. `--debug` may stand anywhere."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        app(words, prog_name="flowtape")
    except FlowError as error:
        if debug:
            traceback.print_exc()
        typer.echo(f"flowtape: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
