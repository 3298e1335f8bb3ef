"""Sets of networks that a GPU check measures: made by Paddle, read without it."""
