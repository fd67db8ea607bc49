"""Tables, each file a subject; `registry.table` gives them their numbers."""
