"""A model that exists, imported or exported, fine-tuned on songs with stems: is it worth it?

::

    model -> (channel map) ------+-> scores as given ------------+
                                 +-> fine-tuning -> scores ------+-> report
    songs -> where stems sound --+
"""

from flows.studies.adapt.study import AdaptStudy

__all__ = ["AdaptStudy"]
