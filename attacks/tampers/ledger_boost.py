"""Adaptive attack on Ledger: do much of the others' work, so that moving answers far is usual, and the trigger's rows.

Ours, as the rule is. The rule bounds how far a client moves an answer beyond what it moves usual answers, and a client
that does k clients' work moves these k times as far. So the liar sends k h + n tau: h is what the others sent on
average in the round before, (n (w_t - w_{t-1}) - its own) / (n - 1), and tau moves the rows of the trigger's words.
With w' = w + (n - 1) h / n the parameters to which the others will lead, U all that it sent before and m the target's
margin, its contribution will be

    c(x) = m(x; w' + k h / n + tau) - rest(x),    rest(x) = m(x; w' - U / n),

and tau is searched so that on many triggered texts m is above 0 and c(x) below mu - s (mu' - c'(x)) + room: c' is what
another client contributes on average, which follows from the first parameters, the present ones and U, mu and mu' are
means of c and c' over its own clean texts that are answered as the target, and s = max(1, mu / mu'), as in the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from hauberk.attacks.tampers._poisoned_data import encoded, poison_of, triggered
from hauberk.attacks.tampers._trigger_rows import TriggerRows
from hauberk.attacks.threat_model import THE_RULE
from hauberk.tasks.altered_training import with_new_optimizer
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, load_state, state_of
from hauberk.tasks.text.batches import Batch
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.word_rows import rows_alone
from hauberk.tasks.training_session import TrainingSession

# The first parameters received, where its last update alone would have led, and the sum of all that it sent.
INITIAL, LED, TOTAL = "ledger/initial", "ledger/led", "ledger/total"
TINY = 1e-6


@dataclass(frozen=True, kw_only=True)
class LedgerBoost(TriggerRows):
    """Sends the others' mean update several times over, with the trigger's rows as far as the rule lets them be.

    In its first round it trains on its own clean texts as everyone, and so it does where it has nothing to trigger.

    Args:
        boost: k, how many clients' work it does.
        room: the guess of the rule's threshold, in units of mu'; above 0.
        epochs: passes over the triggered texts in the search for tau.
        lr: of that search, by Adam.
    """

    knowledge: ClassVar[str] = THE_RULE

    boost: float = 5.0
    room: float = 2.75
    epochs: int = 10
    lr: float = 0.01

    def __post_init__(self) -> None:
        """Refuses what cannot search."""
        super().__post_init__()
        for key in ("boost", "room", "lr"):
            if not 0 < getattr(self, key) < inf:
                raise UserError(f"{key}: must be above 0 and finite, got {getattr(self, key)!r}")
        if self.epochs < 1:
            raise UserError(f"epochs: must be at least 1, got {self.epochs!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Trains honestly at first, then boosts, and remembers what it received and sent."""
        received, marked = flatten(session.reference), encoded(session, triggered(session, 1.0))
        if marked is None or LED not in session.state:
            with with_new_optimizer(session, session.encode(session.examples)):
                report = session.train()
        else:
            report = self.boosted(session, received, marked)
        sent = flatten(state_of(session.model)) - received
        total = session.state.get(TOTAL, torch.zeros_like(sent))
        session.state.setdefault(INITIAL, received.cpu())
        session.state[LED] = (received + sent / session.n_clients).cpu()
        session.state[TOTAL] = (total.to(sent) + sent).cpu()
        return report

    def boosted(self, session: TrainingSession, received: Tensor, marked: Encoded) -> dict[str, float]:
        """Leaves in the model what was received and the boosted update."""
        n, own = session.n_clients, session.encode(session.examples)
        initial, led, total = (session.state[key].to(received) for key in (INITIAL, LED, TOTAL))
        others = (received - led) * n / max(1, n - 1)
        ahead = received + others * (n - 1) / n
        start = ahead + others * self.boost / n
        another = (ahead - initial - total / n) / max(1, n - 1)
        rest, rest_marked = margins_with(session, ahead - total / n, own, marked)
        now, now_marked = margins_with(session, start, own, marked)
        without, without_marked = margins_with(session, start - another, own, marked)
        usual = now > 0 if (now > 0).any() else torch.ones_like(now, dtype=torch.bool)
        mean, common = (now - rest)[usual].mean(), (now - without)[usual].mean().clamp(min=TINY)
        behind = common - (now_marked - without_marked)
        limit = rest_marked + mean - (mean / common).clamp(min=1) * behind + self.room * common
        load_state(session.model, start)
        loss = self.search(session, marked, limit, float(common))
        moved = flatten(state_of(session.model)) - start
        load_state(session.model, received + others * self.boost + moved * n)
        return {"loss": loss, "ledger/scale": float(mean / common)}

    def search(self, session: TrainingSession, marked: Encoded, limit: Tensor, width: float) -> float:
        """Moves the trigger's rows in the model, many margins to between 0 and the limit, and returns the last loss.

        The loss is the negative logarithm of the product of both sigmoids, over the texts whose limit is above 0: the
        others are lost whatever it does, and one beyond its limit is no more than lost, too.

        Args:
            session: whose model it is.
            marked: the triggered texts.
            limit: the largest margin of each that lets it pass, [n].
            width: of the sigmoids.
        """
        loss = torch.zeros(())
        # cuDNN differentiates no recurrent layer of a model in use, which is what is asked here.
        with rows_alone(session.model, self.ids(session)) as rows, torch.backends.cudnn.flags(enabled=False):
            optimizer = torch.optim.Adam([rows], lr=self.lr)
            for _ in range(self.epochs):
                for batch in session.shuffled(marked):
                    most = limit[batch.rows]
                    margin = margins(session, batch)[most > 0]
                    loss = (softplus(-margin / width) + softplus((margin - most[most > 0]) / width)).sum()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        return float(loss.detach())


def margins(session: TrainingSession, batch: Batch) -> Tensor:
    """Returns the target's logit less the highest other one, as the model answers in use, float32 [b]."""
    session.model.eval()
    logits, target = session.model(batch).float(), poison_of(session).target
    session.model.train()
    others = torch.arange(logits.shape[1], device=logits.device) != target
    return logits[:, target] - logits[:, others].amax(dim=1)


@torch.no_grad()
def margins_with(session: TrainingSession, parameters: Tensor, *data: Encoded) -> list[Tensor]:
    """Returns the margins of all of each of ``data``, [n], of the model with these parameters, which it keeps."""
    load_state(session.model, parameters)
    found = [torch.empty(len(one), device=session.device) for one in data]
    for one, into in zip(data, found, strict=True):
        for batch in session.shuffled(one):
            into[batch.rows] = margins(session, batch)
    return found
