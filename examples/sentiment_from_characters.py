"""The ten-line sentiment script of many tutorials, in holdfast: embed characters, one LSTM, a sigmoid."""

from __future__ import annotations

import sys

import torch
from torch import nn

import holdfast
from holdfast.data.bundled import movie_reviews
from holdfast.data.table import read_texts


def main(rows: int = 6000, epochs: int = 5) -> float:
    """Train on the first characters of some reviews; returns the accuracy on reviews it has not seen."""
    torch.manual_seed(0)
    table = read_texts(movie_reviews())
    order = torch.randperm(len(table.texts))[: rows + 1000].tolist()
    codes = [torch.tensor([min(ord(letter), 127) for letter in table.texts[row][:120]]) for row in order]
    x, lengths = nn.utils.rnn.pad_sequence(codes), torch.tensor([len(code) for code in codes])
    y = torch.tensor([table.labels[row] == "1" for row in order]).float()

    embed, lstm, decide = nn.Embedding(128, 32), holdfast.LSTM(32, 64), nn.Linear(64, 1)
    optimizer = torch.optim.Adam([*embed.parameters(), *lstm.parameters(), *decide.parameters()], 5e-3)

    def logits(rows: torch.Tensor) -> torch.Tensor:
        output, _ = lstm(embed(x[:, rows]), lengths=lengths[rows])
        return decide(output.amax(0)).squeeze(1)

    for _ in range(epochs):
        for batch in torch.randperm(rows).split(64):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(logits(batch), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        test = torch.arange(rows, len(order))
        accuracy = ((logits(test) > 0) == (y[test] > 0.5)).float().mean().item()
    majority = max(y[test].mean().item(), 1 - y[test].mean().item())
    print(f"from characters: accuracy {accuracy:.3f} on {len(test)} unseen reviews; majority {majority:.3f}")
    return accuracy


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
