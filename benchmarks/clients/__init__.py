"""The clients that are compared: ours, and what people use or could write instead.

Each runs in a process of its own (``python -m benchmarks.clients``), so that none pays for another's imports, memory or
threads; ``process`` starts one. All ask the same prompts of the same fake model, one request a prompt.
"""
