"""What annotators give back -> one answer an image. Pure: no storage, no Ray; ``select`` may not look in here.

``readers`` turns a file of any tool into answers, ``settle`` makes one of several annotators' answers.
"""

from pipeline.annotations.readers import Answer, read_answers, read_folder
from pipeline.annotations.settle import CONTRADICTED, LABELLED, SKIPPED, Settled, settle

__all__ = ["CONTRADICTED", "LABELLED", "SKIPPED", "Answer", "Settled", "read_answers", "read_folder", "settle"]
