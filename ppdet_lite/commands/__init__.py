"""The commands of `ppdet`, a file each with `build_parser()` and `main(args)`."""
