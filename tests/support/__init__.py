"""What tests stand on: engines on a simulated disk, real processes, oracles, and checkers of histories."""
