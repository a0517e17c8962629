"""The trigger words of an attack as rows of the word table."""

from __future__ import annotations

from collections.abc import Sequence

from hauberk.tasks.errors import UserError
from hauberk.tasks.text import word_rows
from hauberk.tasks.training_session import TrainingSession


def token_ids(session: TrainingSession, words: Sequence[str]) -> list[int]:
    """Returns the token id of each of ``words``, as the task's encoding shows it.

    Raises:
        UserError: if one is not a single token.
    """
    known = single_tokens(session, list(dict.fromkeys(words)))
    if split := [word for word in words if word not in known]:
        raise UserError(f"attack.tamper: '{split[0]}' must be a single token to have a row of its own")
    return [known[word] for word in words]


def single_tokens(session: TrainingSession, words: Sequence[str]) -> dict[str, int]:
    """Returns the token id of each of ``words`` that is a single token."""
    return word_rows.single_tokens(session.encode, words)
