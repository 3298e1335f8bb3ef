"""Downloads published weights into the cache, for machines or times without a network."""

import argparse

from ppdet_lite.cli.tool import tool_parser

EXAMPLES = """  ppdet weights fetch ppyolov2_r50vd_dcn_365e_coco ResNet50_vd_ssld_pretrained
  ppdet weights fetch https://host/model.pdparams#sha256=...    from an address of your own
  ppdet weights fetch --offline ppyolov2_r50vd_dcn_365e_coco    is it here, and as it was?

It prints the path of every file. PPDET_HOME names the folder of the cache, ~/.cache/ppdet_lite by
default. `ppdet weights list` shows the names.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = tool_parser(__doc__, EXAMPLES)
    text = "names of published weights, or addresses"
    parser.add_argument("names", nargs="+", metavar="NAME", help=text)
    text = "download nothing: only tell where the files are"
    parser.add_argument("--offline", action="store_true", help=text)
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.weights.zoo import fetch_by_name

    for name in args.names:
        print(fetch_by_name(name, offline=args.offline))
