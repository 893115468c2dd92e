"""Adapters. Each one only translates another library's contract into ferrokv's public names."""
