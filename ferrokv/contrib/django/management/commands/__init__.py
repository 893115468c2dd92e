"""The commands; what they share is in `management/stores.py`."""
