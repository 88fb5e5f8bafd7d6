"""Sweeps: models x pictures x options as one resumable job, on this machine or on a Ray cluster.

plan.py        models x pictures x options -> cells
place.py       a process that measures one cell after the other, and is replaced when it dies or hangs
crew.py        who measures: processes here
ray_crew.py    who measures: the nodes of a Ray cluster
ray_driver.py  the process of its own that is Ray's driver
run.py         the engine: claims cells, gives them to a crew, and writes down what comes back
progress.py    how far it is, and how long it will take
"""
