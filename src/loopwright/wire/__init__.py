"""The wire: how processes of the platform, and programs that use it, reach each other.

Open throughout, as ``kernel`` and ``store`` are: its modules are imported one by one, for a client needs no web server.
"""
