"""How commands and people understand each other: no command in here, only how all of them speak.

::

    usage      wrong words, answered in one sentence that offers the nearest right word
    endings    how a command ends: its error in one line, and its exit code
    streams    output that is no longer read, or that cannot be written
    questions  a question to the person, who may not be there
"""
