"""Which errors cost the AP: matches, curves, error types, confusion, suspect labels; numpy only."""
