"""A run's screen that also hands each round to a tracker, where the spec names one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from hauberk.clients.messages import ClientReply
from hauberk.experiments.runner.progress import Screen
from hauberk.experiments.runner.round_tables import flat
from hauberk.experiments.runner.run_dir import RunDir
from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.spec.build import Parts
from hauberk.experiments.spec.components import build
from hauberk.experiments.spec.flat import flatten
from hauberk.experiments.spec.loader import Spec
from hauberk.experiments.tracking import TRACKERS, Followed, Tracker, Tracking
from hauberk.experiments.tracking.base import Status, finite
from hauberk.server.round import Stopped


class Tracked:
    """Shows what ``screen`` shows and tells ``tracker``, whose failures are warnings: the folder has all of it.

    Args:
        screen: who shows the run.
        tracker: who follows it; None: nobody.
        recorded: the rounds that were recorded before now, of which the tracker is told what it lacks.
    """

    def __init__(
        self, screen: Screen, tracker: Tracker | None, recorded: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._screen, self._tracker = screen, tracker
        for line in recorded:
            if tracker is not None and line["round"] > tracker.knows:
                self._tell(line)

    def begin(self, spec: Spec, parts: Parts, played: int, engine: str) -> None:  # noqa: D102
        self._screen.begin(spec, parts, played, engine)

    def ready(self, prepared: Prepared) -> None:  # noqa: D102
        self._screen.ready(prepared)

    def warned(self, line: str) -> None:  # noqa: D102
        self._screen.warned(line)

    def round_started(self, number: int, n_clients: int) -> None:  # noqa: D102
        self._screen.round_started(number, n_clients)

    def reply_received(self, reply: ClientReply) -> None:  # noqa: D102
        self._screen.reply_received(reply)

    def round_finished(self, line: Mapping[str, Any]) -> None:  # noqa: D102
        self._screen.round_finished(line)
        self._tell(line)

    def finalizing(self, work: str) -> None:  # noqa: D102
        self._screen.finalizing(work)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Tells the tracker what the run came to."""
        values = finite({f"final/{name}": value for name, value in summary["final"].items()})
        values |= finite({f"costs/{name}": value for name, value in summary["costs"].items()})
        tags = {"model_sha256": summary["model_sha256"]}
        self._try(lambda tracker: tracker.finish(values, tags))
        self._close("FINISHED")

    def __enter__(self) -> Tracked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, Stopped | KeyboardInterrupt)
        self._close("KILLED" if stopped else "FAILED")

    def _tell(self, line: Mapping[str, Any]) -> None:
        values = {name: value for name, value in finite(flat(line)).items() if name != "round"}
        self._try(lambda tracker: tracker.log(line["round"], values))

    def _close(self, status: Status) -> None:
        self._try(lambda tracker: tracker.close(status))
        self._tracker = None

    def _try(self, tell: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            tell(self._tracker)
        except Exception as error:  # whatever a tracker's library raises, the run goes on
            self._tracker = None
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            self._screen.warned(f"tracking: the run is followed no longer: {reason}")


def tracked(prepared: Prepared, folder: RunDir, screen: Screen, played: int) -> Tracked:
    """Returns the screen of a run after ``played`` rounds; raises UserError where its tracker cannot begin."""
    spec = prepared.spec
    if spec.tracking is None:
        return Tracked(screen, None)
    tracking: Tracking = build(spec.tracking, TRACKERS)
    run = Followed(spec.name, folder.path, flatten(spec.to_dict()), folder.identity, played)
    recorded = [line for line in folder.rounds() if line["round"] <= played] if played else []
    return Tracked(screen, tracking.open(run), recorded)
