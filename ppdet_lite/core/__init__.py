"""Configuration: YAML files in, components out. Imports nothing else of the package."""
