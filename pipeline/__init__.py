"""hacon: which images of an unlabelled pool to label first (HaCon, MIDL 2023).

``stages`` says what a run does, and ``on_ray`` how work is spread: it is the only folder that imports Ray. In the order
of the data flow: ``data`` (images to pool, pool to views), ``moco`` (contrastive features and every sample's
confidence), ``embed``, ``cluster`` (K-means), ``select`` (the order in which to label), ``report`` and ``evaluate``
(what came out), ``paper`` (the paper's tables and figures). The map: docs/architecture.md.
"""

__version__ = "0.2.0"
"""Also where the code came with ``ray job submit --working-dir`` and nothing was installed."""
