"""The LSTM with layer normalisation."""

from __future__ import annotations

from holdfast.cells.cell import Cell, Parameter
from holdfast.cells.expression import Expression, named, normalise, sigmoid, tanh


def layernorm(
    x_i: Expression,
    r_i: Expression,
    b_i: Expression,
    x_f: Expression,
    r_f: Expression,
    b_f: Expression,
    x_g: Expression,
    r_g: Expression,
    b_g: Expression,
    x_o: Expression,
    r_o: Expression,
    b_o: Expression,
    c: Expression,
    gx_i: Expression,
    gx_f: Expression,
    gx_g: Expression,
    gx_o: Expression,
    gr_i: Expression,
    gr_f: Expression,
    gr_g: Expression,
    gr_o: Expression,
    g_c: Expression,
    b_c: Expression,
) -> dict[str, Expression]:
    """The two products and the cell state on its way out are normalised; the stored cell state is not."""
    n_i, n_f, n_g, n_o = normalise(x_i, x_f, x_g, x_o)
    m_i, m_f, m_g, m_o = normalise(r_i, r_f, r_g, r_o)
    i = sigmoid(gx_i * n_i + gr_i * m_i + b_i)
    f = sigmoid(gx_f * n_f + gr_f * m_f + b_f)
    g = tanh(gx_g * n_g + gr_g * m_g + b_g)
    o = sigmoid(gx_o * n_o + gr_o * m_o + b_o)
    c = f * c + i * g
    (n_c,) = normalise(c)
    return named(i=i, f=f, g=g, o=o, c=c, h=o * tanh(g_c * n_c + b_c))


LAYERNORM = Cell(
    name="layernorm",
    function=layernorm,
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    parameters=(
        Parameter("gain_ih", ("gx_i", "gx_f", "gx_g", "gx_o"), "the gains of W x", start=1.0),
        Parameter("gain_hh", ("gr_i", "gr_f", "gr_g", "gr_o"), "the gains of R h", start=1.0),
        Parameter("gain_c", ("g_c",), "the gain of c on its way out", start=1.0),
        Parameter("bias_c", ("b_c",), "the bias of c on its way out", start=0.0),
    ),
    split=("i", "f", "g", "o"),
    references=("J. L. Ba, J. R. Kiros and G. E. Hinton, Layer normalization, arXiv 1607.06450, 2016",),
)
