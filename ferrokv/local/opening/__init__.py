"""Opening a store: alone by recovery, beside other processes by attaching; and whether it is still the same directory."""
