"""Questions to the nodes of a Flower grid, and their answers as they arrive; nothing that a node sends raises."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from hauberk.server.round import Stopped
from hauberk.strategies.flower.records import error_of
from hauberk.strategies.printable import brief

POLL_S = (0.02, 0.25)  # the first and the longest pause between two looks for answers
# Over a network each look is a request for each answer, which costs a SuperLink milliseconds.
APART_POLL_S = (0.2, 1.0)
MAX_THREADS = 64
LOST = frozenset({ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE})

Question = tuple[RecordDict, str]  # a message's content and type
Answer = RecordDict | str  # a message's content, or in one line why there is none


@dataclass(frozen=True, eq=False)
class Overdue:
    """A question that nobody waits for any more.

    Attributes:
        node: who was asked.
        kind: the message's type.
        subject: what was asked for, for readers.
        since: when it was given up, by the monotonic clock.
        answer: what came after all, if anything did.
    """

    node: int
    kind: str
    subject: str
    since: float
    answer: Answer | None = None


class Mailbox:
    """Asks nodes over a grid and yields their answers as they arrive.

    Flower unpacks the messages of a batch together, and one that it cannot unpack takes the others with it. From the
    first such batch on messages are fetched one by one, and a node whose answer was lost is asked once more.

    Args:
        grid: Flower's connection to the nodes.
        stop: ends the run when set.
        apart: whether each answer is fetched in a thread of its own. On a network Flower waits for minutes for the rest
            of an answer that was begun, and all that it fetches in one go with that.
    """

    def __init__(self, grid: Grid, stop: threading.Event, *, apart: bool = False) -> None:
        self._grid, self._stop = grid, stop
        self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="answer") if apart else None
        self._coming: dict[str, Future[list[tuple[str, Message | str]]]] = {}
        self._one_by_one = False
        self._overdue: dict[str, Overdue] = {}
        self._late: list[Overdue] = []
        self._first_s, self._most_s = APART_POLL_S if apart else POLL_S
        self._pause_s = self._first_s

    def ask(
        self,
        questions: Mapping[int, Question],
        timeout_s: float | None,
        *,
        subject: str = "",
        enough: int = 0,
    ) -> Iterator[tuple[int, Answer]]:
        """Yields each node once, with its answer, or why there is none.

        Args:
            questions: to whom what.
            timeout_s: the deadline; None for ever.
            subject: what is asked for, should an answer come later.
            enough: how many answers there must be before the deadline counts.

        Raises:
            Stopped: the run is to end.
        """
        waiting = yield from self._send(questions)
        once_more, end, answered = set(waiting.values()), _end(timeout_s), 0
        self._pause_s = self._first_s
        while waiting and (time.monotonic() < end or answered < enough):
            for message_id, answer in self._arrived([*waiting, *self._overdue]):
                node = waiting.pop(message_id, None)
                if node is None:  # late; or an answer that says itself what it answers, and can say anything
                    self._take_late(message_id, answer)
                elif isinstance(answer, Message) and _is_lost(answer) and node in once_more:
                    once_more.discard(node)
                    waiting |= yield from self._send({node: questions[node]})
                else:
                    content = _content(answer)
                    answered += not isinstance(content, str)
                    yield node, content
            self.pause()
        for message_id, node in waiting.items():
            self._overdue[message_id] = Overdue(node, questions[node][1], subject, time.monotonic())
            yield node, f"no answer within {timeout_s:g} s"

    def owed(self, node: int, longest_s: float) -> str | None:
        """Returns what a node was asked for and has not answered yet; None where that is longer ago.

        An answer that comes after all is still known for what it is, up to ten times as long.
        """
        for message_id, one in list(self._overdue.items()):
            age = time.monotonic() - one.since
            if age > 10 * longest_s:
                del self._overdue[message_id]
            elif one.node == node and one.kind == "train" and age <= longest_s:
                return one.subject
        return None

    def forget(self, node: int) -> None:
        """Expects nothing more of what a node was asked before: it began anew."""
        self._overdue = {key: one for key, one in self._overdue.items() if one.node != node}

    def take_late(self) -> list[Overdue]:
        """Returns the answers that have come too late since the last call."""
        late, self._late = self._late, []
        return late

    def pause(self) -> None:
        """Waits for a moment; raises Stopped where the run is to end."""
        if self._stop.wait(self._pause_s):
            raise Stopped
        self._pause_s = min(1.2 * self._pause_s, self._most_s)

    def _take_late(self, message_id: str, answer: Message | str) -> None:
        if (one := self._overdue.pop(message_id, None)) is not None:
            self._late.append(Overdue(one.node, one.kind, one.subject, one.since, _content(answer)))

    def _send(self, questions: Mapping[int, Question]) -> Generator[tuple[int, Answer], None, dict[str, int]]:
        """Sends; returns which node got which message, by its id, and yields the nodes that got none."""
        # Flower makes a message's id from its content, and takes an answer from any node that names the id: so it holds
        # something that nobody else can guess.
        messages = {
            node: Message(content, node, kind, group_id=secrets.token_hex(16))
            for node, (content, kind) in questions.items()
        }
        taken = set(self._grid.push_messages(list(messages.values()))) if messages else set()
        sent = {message.metadata.message_id: node for node, message in messages.items()}
        for message_id in [one for one in sent if one not in taken]:
            yield sent.pop(message_id), "the node cannot be reached"
        return sent

    def _arrived(self, ids: list[str]) -> Iterator[tuple[str, Message | str]]:
        """Yields what has arrived, each with the id of the message that it answers, and waits for nothing."""
        if self._threads is None:
            yield from self._fetch(ids)
            return
        for message_id in ids:
            if message_id not in self._coming:
                self._coming[message_id] = self._threads.submit(
                    lambda one: list(self._fetch([one])), message_id
                )
        for message_id in [one for one, coming in self._coming.items() if coming.done()]:
            yield from self._coming.pop(message_id).result()

    def _fetch(self, ids: list[str]) -> Iterator[tuple[str, Message | str]]:
        """Yields what has arrived, each with the id of the message that it answers."""
        for batch in [[one] for one in ids] if self._one_by_one else [ids]:
            try:
                messages = list(self._grid.pull_messages(batch))
            except (OSError, httpx.HTTPError):  # the connection to the SuperLink is gone: no node's fault
                raise
            except Exception as error:
                self._one_by_one = True
                if len(batch) == 1:
                    yield batch[0], f"unreadable message: {brief(f'{type(error).__name__}: {error}')}"
            else:
                yield from ((message.metadata.reply_to_message_id, message) for message in messages)


def _end(wait_s: float | None) -> float:
    return time.monotonic() + (float("inf") if wait_s is None else wait_s)


def _is_lost(message: Message) -> bool:
    return message.has_error() and message.error.code in LOST


def _content(answer: Message | str) -> Answer:
    if isinstance(answer, str):
        return answer
    return error_of(answer) or (answer.content if answer.has_content() else "the message is empty")
