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
    alpha_i: Expression,
    alpha_f: Expression,
    alpha_g: Expression,
    alpha_o: Expression,
    beta_i: Expression,
    beta_f: Expression,
    beta_g: Expression,
    beta_o: Expression,
    gamma_c: Expression,
    b_c: Expression,
) -> dict[str, Expression]:
    """The two products and the cell state on its way out are normalised; the stored cell state is not."""
    n_i, n_f, n_g, n_o = normalise(x_i, x_f, x_g, x_o)
    m_i, m_f, m_g, m_o = normalise(r_i, r_f, r_g, r_o)
    i = sigmoid(alpha_i * n_i + beta_i * m_i + b_i)
    f = sigmoid(alpha_f * n_f + beta_f * m_f + b_f)
    g = tanh(alpha_g * n_g + beta_g * m_g + b_g)
    o = sigmoid(alpha_o * n_o + beta_o * m_o + b_o)
    c = f * c + i * g
    (n_c,) = normalise(c)
    return named(i=i, f=f, g=g, o=o, c=c, h=o * tanh(gamma_c * n_c + b_c))


LAYERNORM = Cell(
    name="layernorm",
    function=layernorm,
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    parameters=(
        Parameter("gain_ih", ("alpha_i", "alpha_f", "alpha_g", "alpha_o"), "the gains of W x", start=1.0),
        Parameter("gain_hh", ("beta_i", "beta_f", "beta_g", "beta_o"), "the gains of R h", start=1.0),
        Parameter("gain_c", ("gamma_c",), "the gain of c on its way out", start=1.0),
        Parameter("bias_c", ("b_c",), "the bias of c on its way out", start=0.0),
    ),
    split=("i", "f", "g", "o"),
    references=("J. L. Ba, J. R. Kiros and G. E. Hinton, Layer normalization, arXiv 1607.06450, 2016",),
)
