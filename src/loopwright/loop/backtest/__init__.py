"""Backtests: a stretch of history played again under a policy, in a scratch project, through the real components."""
