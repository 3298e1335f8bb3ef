"""Detects with an exported model, like deploy/python/infer.py."""

import argparse

from ppdet_lite.cli import deploy

build_parser = deploy.build_parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    deploy.sigterm_is_interrupt()
    deploy.run(args)
