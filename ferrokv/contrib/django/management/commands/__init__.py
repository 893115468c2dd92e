"""The commands. `management/stores.py` has what they share."""
