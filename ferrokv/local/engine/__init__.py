"""What one process knows of a store: its state, the manifest, the slots of the control page, and the reserve for a full disk."""
