"""The loop: apply, reactions, retrain, rollout, rollback, why, backtest. What reads or changes several rooms lives here."""
