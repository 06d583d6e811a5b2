"""The log collector: a process that writes what workers log and print to the container's log.

`collector` and `source` are its own; `keeper` is the supervisor's side, forkserver/worker_logs.py the fork server's.
"""
