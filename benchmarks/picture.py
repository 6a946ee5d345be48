"""The picture of speed: every side relative to torch.nn.LSTM, a line for each shape."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import ours
import peers
from matplotlib import pyplot
from matplotlib.axes import Axes
from records import Records, threads_of
from verdicts import PLAIN_LAYER, shape_of

MARKS = {
    PLAIN_LAYER: ("holdfast", "o", "#d1495b", 90),
    ours.NUMPY.name: ("holdfast, prepared", "o", "#f0a3b0", 45),
    peers.TORCH.name: ("torch.nn.LSTM", "|", "#444444", 60),
    peers.ONNX_RUNTIME.name: ("ONNX Runtime", "s", "#2e86ab", 28),
    peers.OPENVINO.name: ("OpenVINO", "D", "#6a4c93", 26),
    peers.KERAS.name: ("Keras on TensorFlow", "^", "#e09f3e", 34),
    peers.KERAS_XLA.name: ("Keras, XLA", "<", "#e09f3e", 34),
    peers.JAX.name: ("JAX scan", "v", "#3a7d44", 34),
    peers.COMPILED_LOOP.name: ("torch.compile of a loop", "P", "#8d99ae", 34),
    peers.LOOP.name: ("loop in torch", "x", "#8d99ae", 28),
}
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


def draw(records: Records, path: Path) -> None:
    """Two panels, training and forward, as a PNG."""
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    for panel, group in zip(axes, ("training", "forward"), strict=True):
        _panel(panel, records, group)
    handles: dict[str, object] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    order = [label for label, *_ in MARKS.values() if label in handles]
    figure.legend(
        [handles[label] for label in order], order, loc="outside lower center", ncols=4, frameon=False
    )
    some = next((rows[0] for _, rows in records.cases("training")), None)
    if some is not None:
        heading = f"Speed relative to torch.nn.LSTM, float32, {threads_of(some)}"
        figure.suptitle(heading, fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    pyplot.close(figure)


def _panel(panel: Axes, records: Records, group: str) -> None:
    labels: list[str] = []
    for place, (_, rows) in enumerate(records.cases(group)):
        values = {row["side"]: float(row["value"]) for row in rows}
        labels.append(str(shape_of(rows[0])))
        panel.axhline(place, color="#eeeeee", zorder=0)
        for side, (label, mark, colour, size) in MARKS.items():
            if side in values:
                speed = values[peers.TORCH.name] / values[side]
                top = 3 if side == PLAIN_LAYER else 2
                panel.scatter(speed, place, size, colour, marker=mark, label=label, zorder=top)
    panel.axvline(1, color="#444444", linewidth=1, zorder=1)
    panel.set_xscale("log")
    low, high = panel.get_xlim()
    shown = [tick for tick in TICKS if low <= tick <= high]
    panel.set_xticks(shown, [f"{tick:g}x" for tick in shown])
    panel.minorticks_off()
    panel.set_yticks(range(len(labels)), labels)
    if group == "training":
        panel.invert_yaxis()
        panel.set_ylabel("T  B  I  H")
    panel.set_title(f"{group}: faster to the right", fontsize=10)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.tick_params(length=0)
