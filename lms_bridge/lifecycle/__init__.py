"""The life cycle as a run over all accounts: planned, guarded, applied, simulated."""
