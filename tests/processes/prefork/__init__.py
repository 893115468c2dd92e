"""Programs for servers and task queues that fork: see tests/processes/test_prefork.py."""
