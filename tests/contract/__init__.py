"""The client contract: the same tests for each backend, and a fake that shows that the contract is enough for the adapters."""
