"""Weight files of other programs under the names that networks have here."""
