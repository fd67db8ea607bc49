"""The lecture: thirteen figures, thirteen tables and a deck in two languages, from this code and its recorded runs."""
