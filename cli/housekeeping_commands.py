"""`flowtape prune`: deleting sessions that were kept."""

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from flowtape.cli import common
from flowtape.stream.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowtape.replay.housekeeping import Plan, Pruned


def prune(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SESSION",
            help="Ids, how they begin, folders, or `last`.",
            show_default=False,
        ),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(help="Those not written to for so long, such as 30d.", show_default=False),
    ] = None,
    larger_than: Annotated[
        str | None,
        typer.Option(
            help="The oldest, until all together have at most this, such as 2GB.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=0, help="Keep so many of the newest; alone: delete all others.", show_default=False
        ),
    ] = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Also those with a label.")] = False,
    with_branches: Annotated[
        bool, typer.Option("--with-branches", help="Also what branched from those that go.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    home: common.Home = None,
    as_json: common.Json = False,
) -> None:
    """Delete sessions: those named, and those beyond limits; shows them and asks first.

    Sessions that are being written stay. Those with a label stay unless they are named, and those
    that others branched from unless the others go as well.

    Example: flowtape prune --older-than 30d --keep 10
    """
    from flowtape.replay import housekeeping
    from flowtape.replay.session_store import SessionStore

    limits = housekeeping.Limits(
        None if older_than is None else housekeeping.parse_age_us(older_than, "--older-than"),
        None if larger_than is None else housekeeping.parse_bytes(larger_than, "--larger-than"),
        keep,
    )
    if not sessions and limits == housekeeping.Limits():
        raise InputError("name sessions, or give --older-than, --larger-than or --keep")
    store = SessionStore(common.sessions_dir(home))
    plan = housekeeping.plan(
        store,
        sessions or (),
        limits,
        datetime.now(UTC),
        labelled=labelled,
        with_branches=with_branches,
    )
    if not as_json:
        _show(plan)
    if not dry_run:
        if plan.pruned and not yes:
            _ask(plan.pruned, as_json=as_json)
        done = housekeeping.prune(store, plan.pruned)
        plan = housekeeping.Plan(done.pruned, plan.spared + done.spared)
        if not as_json:
            for one in done.spared:
                typer.echo(f"{one.id} stays: {one.why}")
    if as_json:
        typer.echo(json.dumps(_described(plan, deleted=not dry_run), indent=2))
    elif plan.pruned:
        typer.echo(f"{'would delete' if dry_run else 'deleted'} {_counted(plan.pruned)}")
    else:
        typer.echo(f"nothing to delete below {store.root}")


def _show(plan: "Plan") -> None:
    for one in plan.pruned:
        label = f"  {one.label}" if one.label else ""
        typer.echo(f"{one.id}  {one.created}  {_size(one.size_bytes):>9}  {one.why}{label}")
    for spared in plan.spared:
        typer.echo(f"{spared.id} stays: {spared.why}")


def _ask(pruned: "Sequence[Pruned]", *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise InputError(
            f"nothing was deleted: give --yes to delete {_counted(pruned)}, or --dry-run"
        )
    if not typer.confirm(f"delete {_counted(pruned)}?"):
        typer.echo("nothing was deleted")
        raise typer.Exit


def _counted(pruned: "Sequence[Pruned]") -> str:
    from flowtape.replay.words import counted

    size = _size(sum(one.size_bytes for one in pruned))
    return f"{counted(len(pruned), 'session')} ({size})"


def _size(size_bytes: int) -> str:
    power = max(min((len(str(size_bytes)) - 1) // 3, 4), 1)
    return f"{size_bytes / 1_000**power:.1f} {' kMGT'[power]}B"


def _described(plan: "Plan", *, deleted: bool) -> dict[str, object]:
    return {
        "deleted": deleted,
        "size_bytes": sum(one.size_bytes for one in plan.pruned),
        "sessions": [
            {
                "id": one.id,
                "folder": str(one.folder),
                "label": one.label,
                "created": one.created,
                "size_bytes": one.size_bytes,
                "why": one.why,
            }
            for one in plan.pruned
        ],
        "spared": [{"id": one.id, "why": one.why} for one in plan.spared],
    }
