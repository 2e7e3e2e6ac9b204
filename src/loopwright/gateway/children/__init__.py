"""Child processes of a gateway: what users wrote, and what may crash or hang, runs there and nowhere else.

The *nursery* is a small process with the libraries loaded and no secret in it; it forks children on request and says
how each ended. A child speaks with its gateway over one socket (``messages``). It is handed requests unread, and hands
back what to answer and what to log; only the gateway writes to the spool.
"""
