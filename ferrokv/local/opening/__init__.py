"""Opening a store, by recovery or attaching; and checking that it is still the same."""
