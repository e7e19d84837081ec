"""features -> the space in which images are compared, for clusters and for orders on features."""

from __future__ import annotations

import numpy as np

from pipeline.cluster.space import principal_components
from pipeline.features import write_features
from pipeline.on_ray.read_features import features_in_chunks
from pipeline.on_ray.write_features import rows_of_a_file
from pipeline.publish import stage_of
from pipeline.results import Compared, Embedded
from pipeline.run import Run


def compare(run: Run, embedded: Embedded) -> Embedded:
    """Principal components of the features, or the features themselves, as ``embed.space`` says. Ray is running."""
    settings, store = run.config.embed, run.store
    if settings.space == "features":
        return embedded
    stage = stage_of(run, Compared, {"embeddings": embedded.fingerprint})

    def work(files: str) -> Compared:
        chunks = features_in_chunks(store, embedded)
        space = principal_components(chunks, settings.components)
        dimensions = space.directions.shape[1]
        rows, start = rows_of_a_file(settings.rows_per_file, embedded.size, dimensions), 0
        for chunk in chunks():
            for at in range(0, len(chunk), rows):
                part = space(chunk[at : at + rows])
                write_features(store, files, np.arange(start, start + len(part)), part)
                start += len(part)
        run.log(f"compared by {dimensions} principal components, {100 * space.explained:.0f}% of the variance")
        made = Compared(
            folder=stage.folder,
            size=embedded.size,
            dimensions=dimensions,
            source=embedded.source,
            encoder=embedded.encoder,
            explained=round(space.explained, 4),
        )
        store.write_bytes(made.space_file, space.to_bytes())
        return made

    return stage.run(work, run.log)
