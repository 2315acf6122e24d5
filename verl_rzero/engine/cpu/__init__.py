"""What lets stock verl and vLLM run without a GPU; every patch stands here with its reason.

Imports nothing of ours. Never here: anything that a GPU needs.
"""
