"""Bytes: encoders, golden files, forged and fuzzed ones."""
