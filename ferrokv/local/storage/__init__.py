"""The only code that meets the operating system: files, locks, the control page, and a simulated disk for tests."""
