"""Vision-language models: ask several the same about one picture, and say honestly what came of it.

base.py        the values and the one contract of all providers; imports no SDK
providers/     one file a provider, each importing its own SDK when it is used
asking.py      one question to one model: attempts, waits, time to first token
tasks.py       caption, questions, OCR, objects, free: prompts, truth, which scores
scoring/       answers against truth, by kept libraries
workflow.py    the use case that leaves one run in the store
"""
