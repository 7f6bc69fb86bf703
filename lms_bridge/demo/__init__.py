"""The demo: the bridge with simulated peers on one machine, in memory, on loopback.

Each peer is written apart from the bridge's own protocol code, so that a misunderstanding on one side shows.
"""
