"""Parts of what summaries say of a network."""

from __future__ import annotations

from tinyrs._tinyrs import Network


def sizes_text(network: Network) -> str:
    """The sizes of the layers, such as "mean of 4 of 16-128-64-64-10"."""
    sizes, members = "-".join(map(str, network.layer_sizes)), len(network.members)
    return f"mean of {members} of {sizes}" if members > 1 else sizes


def n_embedding_members(network: Network) -> int:
    """The number of networks with a numeric embedding, of an ensemble or of a single network."""
    return sum(member.numeric_embedding is not None for member in network.members)


def embedding_text(network: Network) -> str:
    """What follows the other parts, such as ", numeric embedding pbld in 2 of them"; empty without one."""
    embedded = n_embedding_members(network)
    if not embedded:
        return ""
    of_them = f" in {embedded} of them" if embedded < len(network.members) else ""
    return f", numeric embedding {network.numeric_embedding}{of_them}"
