"""The only code that calls the operating system: files, locks, the control page, futexes."""
