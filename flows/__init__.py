"""What happens, in what order. The only layer that knows Prefect.

::

    FMA    -> plan -> units -> census -> pre-training -> channel map -+
                                                                      +-> fine-tuning -> scores
    MUSDB  -> songs -> activity --------------------------------------+       -> report

`study.py` draws every arrow, once. `stages.py` says what a stage is; `corpora.py`, `jobs.py` and
`pages.py` build them; `tasks.py` is how Prefect runs them, `launch.py` a GPU job; `quality.py`
and `approval.py` stand before GPU time. `display/` is what is seen of a run meanwhile, `commands/`
what a person asks for and is shown; `operations/` keeps server, schedules and processes in order;
`__main__.py` is the command line.
"""
