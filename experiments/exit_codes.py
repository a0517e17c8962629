"""What an error means to whoever called: an exit code, and a line."""

from __future__ import annotations

INTERRUPTED = 130  # the exit code of what Ctrl-C ended


def explain(error: BaseException) -> tuple[int, str] | None:
    """Returns the exit code and the words for what a user can do something about; None for what nobody foresaw."""
    import click

    from hauberk.server.round import RoundFailed, Stopped
    from hauberk.tasks.errors import UserError

    if isinstance(error, click.exceptions.Exit):
        return error.exit_code, ""
    if isinstance(error, click.ClickException):
        return 2, error.format_message()
    if isinstance(error, click.Abort):
        return INTERRUPTED, "interrupted"
    if isinstance(error, UserError):
        return 2, str(error)
    if isinstance(error, RoundFailed):
        return 3, str(error)
    if isinstance(error, Stopped):
        return INTERRUPTED, "stopped; --resume goes on from the last checkpoint"
    return None
