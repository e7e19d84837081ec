"""The reports' figures. The only folder that imports matplotlib; no pyplot, so no global state.

Every function returns a ``Figure`` of 460 or 560 CSS pixels' width; ``png``, ``svg`` and ``pdf`` turn it into
bytes. In all of them orange is the query, or the paper's strategy, and blue-grey is the pool.
"""

from pipeline.report.figures.canvas import pdf, png, svg
from pipeline.report.figures.maps import dataset_map, embedding_map, region_map, selection_map
from pipeline.report.figures.run import cluster_bars, training_curve

__all__ = [
    "cluster_bars",
    "dataset_map",
    "embedding_map",
    "pdf",
    "png",
    "region_map",
    "selection_map",
    "svg",
    "training_curve",
]
