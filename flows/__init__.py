"""What happens, in what order. The only layer that knows Prefect.

::

    cli        the commands; `__main__.py` assembles them
    deploy     schedules, deployments and workers
    engine     how Prefect runs a study: the flow and its tasks
    studies    which stages a study has, in what order: one module or package per paper
    recovery   crashed, cancelled and stalled runs
    stages     what each stage builds
    jobs       GPU jobs as supervised child processes
    ui         what people see of a run
    server     the Prefect server and its settings

Each imports only what is below it; `recovery` and `stages`, `ui` and `server` share a floor.
Prefect is imported only in `deploy`, `engine`, `recovery`, `ui`, and in functions of `cli`.
"""
