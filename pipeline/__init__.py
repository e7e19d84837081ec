"""hacon: which images of an unlabelled pool to label first (HaCon, MIDL 2023).

The folders in the order of the data flow: ``data`` (images to pool, pool to views), ``moco``
(contrastive features and per-sample confidence), ``embed``, ``cluster`` (K-means), ``select``
(the order in which to label), ``evaluate`` and ``report`` (what came out). ``on_ray`` runs
them distributed and is the only folder that imports Ray.
"""

__version__ = "0.1.0"
"""Also where the code came with ``ray job submit --working-dir`` and nothing was installed."""
