"""The engine: events answered, timers fired, a replay clock moved, what failed tried again; no rule stands here."""
