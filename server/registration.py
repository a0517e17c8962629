"""Who is who among the nodes of a federation: decided once, before the first round.

Without keys a node says itself which client it is, and may lie. Where two say that they are the same client, neither
is believed: if the first one were, a quick liar would take an honest client's place, and be handed what that client
has left with the server. So a lie costs the liar the place that it could have had itself. A table of public keys ends
that, too: a node then is the client whose key it has, whatever it says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from hauberk.clients.messages import Handshake

Answers = Mapping[int, Handshake | str]


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Who takes part.

    Attributes:
        nodes: which node a client has, by client id, ascending.
        refused: why a node does not take part, by node id.
        absent: why a client does not take part, by client id, ascending.
    """

    nodes: dict[int, int]
    refused: dict[int, str]
    absent: dict[int, str]

    @property
    def warnings(self) -> list[str]:
        """Who does not take part and why, one line each."""
        nodes = [f"node {node} is refused: {reason}" for node, reason in self.refused.items()]
        return [*nodes, *(f"client {client} is absent: {reason}" for client, reason in self.absent.items())]


def register(
    answers: Answers,
    *,
    n_clients: int,
    version: str,
    layout: str,
    owners: Mapping[int, int] | None = None,
    agreed: Mapping[str, str] | None = None,
) -> Registration:
    """Returns who takes part; nothing that a node says raises.

    Args:
        answers: what each node says of itself, or why it says nothing, by node id.
        n_clients: how many clients there are.
        version: of hauberk, on the server.
        layout: the digest of the tensors of the server's model.
        owners: which client each node is by its public key, by node id, without nodes whose key is unknown; None
            where nodes say themselves who they are.
        agreed: digests of what else a node must have in common with the server, by its name.
    """
    refused: dict[int, str] = {}
    claims: dict[int, list[int]] = defaultdict(list)
    for node, answer in sorted(answers.items()):
        if isinstance(answer, str):
            refused[node] = answer
        elif reason := _odd_claim(node, answer, n_clients, owners) or _odd_model(
            answer, version, layout, agreed or {}
        ):
            refused[node] = reason
        else:
            claims[answer.client_id].append(node)
    for client, rivals in claims.items():
        if len(rivals) > 1:
            reason = f"{len(rivals)} nodes say that they are client {client}, and none of them is believed"
            refused |= dict.fromkeys(rivals, reason)
    nodes = {client: rivals[0] for client, rivals in sorted(claims.items()) if len(rivals) == 1}
    absent = {
        client: _why_absent(client, answers, refused, owners)
        for client in range(n_clients)
        if client not in nodes
    }
    return Registration(nodes=nodes, refused=dict(sorted(refused.items())), absent=absent)


def _odd_claim(node: int, answer: Handshake, n_clients: int, owners: Mapping[int, int] | None) -> str | None:
    says = f"it says that it is client {answer.client_id}"
    if owners is not None and node not in owners:
        return f"{says}, and its public key is no client's"
    if owners is not None and owners[node] != answer.client_id:
        return f"{says}, and its public key is client {owners[node]}'s"
    if not 0 <= answer.client_id < n_clients:
        return f"{says}, and the {n_clients} clients are numbered from 0 to {n_clients - 1}"
    return None


def _odd_model(answer: Handshake, version: str, layout: str, agreed: Mapping[str, str]) -> str | None:
    if answer.version != version:
        return f"it runs hauberk {answer.version}, the server {version}"
    if answer.layout != layout:
        return "it has another model than the server: their layouts differ"
    for name, digest in agreed.items():
        if answer.agreed.get(name) != digest:
            return f"it does not agree with the server on {name}: their digests differ"
    return None


def _why_absent(
    client: int, answers: Answers, refused: Mapping[int, str], owners: Mapping[int, int] | None
) -> str:
    if owners is not None:  # whose node it is does not depend on what it says
        reasons = [reason for node, reason in refused.items() if owners.get(node) == client]
        return "; ".join(reasons) or "no node with its key is there"
    claimants = [
        n for n, answer in answers.items() if isinstance(answer, Handshake) and answer.client_id == client
    ]
    if not claimants:
        return "no node says that it is this client"
    return f"refused with node {', '.join(map(str, sorted(claimants)))}"
