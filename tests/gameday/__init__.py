"""A study disturbed on purpose: whatever is killed or refuses, it is resumed and ends the same.

`faults.py` says what is done to it and how it is resumed, `scene.py` is one home in which that
happens, `ground.py` the server and the undisturbed study that all scenes share.
"""
