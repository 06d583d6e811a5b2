"""Zygotes: processes that have imported one framework and only fork. Each fork becomes a worker, its imports done.

`handle` and `pool` are the fork server's side; `process` is the zygote's own, run by `python -m` of this package.
"""
