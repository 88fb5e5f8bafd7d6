"""Runs over a data set: planned, priced before they begin, held to a budget, and resumed after a crash.

plan.py      models x tasks x items -> calls
estimate.py  what that will take and cost, and the most that one call may cost
budget.py    what may still be spent, asked before each call
run.py       the engine
results.py   rows -> tables, distributions, cost per right answer, differences in pairs
"""
