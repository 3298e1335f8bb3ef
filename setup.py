from setuptools import setup

setup()  # pyproject.toml describes the project; this file serves tools that ask for it
