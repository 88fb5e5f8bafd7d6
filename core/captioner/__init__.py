"""The small vision-language model of this repository: it sees scenes, and talks about scenes only.

vocabulary.py   text to tokens and back, over the closed language of the scenes
network.py      a convolutional encoder, tokens pooled by what the patches show, a causal decoder
generate.py     greedy answers, one token at a time
"""
