from contract.cell_contract import CellContract, paper

from holdfast import cell, cells


@cell(gates=("f", "g"))
def leaky(f, g, c, leak=0.1):
    f, g = cells.sigmoid(f + leak * c), cells.tanh(g)
    return cells.named(f=f, g=g, c=f * c + g, h=cells.tanh(f * c + g))


@paper("fg", name="leaky", leak=1)
def by_hand(z, before, own, drop, clip):
    f, g = (z[0] + own["leak"] * before["c"]).sigmoid(), z[1].tanh()
    return {"f": f, "g": g, "c": (c := clip(f * before["c"] + drop(g))), "h": c.tanh()}


class TestLeaky(CellContract):
    cell = "leaky"
