"""The commands of `ppdet`, each a file with `build_parser()` and `main(args)`."""
