"""Signing in: the doors, the sessions behind them, and what is shown when a person stands before the gate."""
