"""Many writes by one caller, and one wait until all of them are durable (docs/decisions/0011-deferrals.md)."""
