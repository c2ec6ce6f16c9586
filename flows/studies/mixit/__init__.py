"""MixIT pre-training (Saijo & Bando 2025): the study, its three tables, and what MixIT is worth.

::

    FMA    -> plan -> units -> census -> pre-training -> channel map -+
                                                                      +-> fine-tuning -> scores
    MUSDB  -> songs -> activity --------------------------------------+       -> report
"""

from flows.studies.mixit.study import MixitStudy

__all__ = ["MixitStudy"]
