"""Prints what makes a shell complete commands, options and names of configurations."""

from __future__ import annotations

import argparse
import importlib

EXAMPLES = """examples:
  bash   eval "$(ppdet completion bash)"                    in ~/.bashrc
  zsh    eval "$(ppdet completion zsh)"                     in ~/.zshrc, behind compinit
  fish   ppdet completion fish > ~/.config/fish/completions/ppdet.fish
"""

_BASH = """# Completion of ppdet for bash, and for zsh by bashcompinit.
_ppdet() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=""
  case "$before" in
    -c|--config) COMPREPLY=($(compgen -W "{configs}" -- "$word") $(compgen -f -- "$word")); return;;
  esac
  case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{two}
    *) case "${{COMP_WORDS[1]}}" in
{one}
    esac;;
  esac
  [ "$COMP_CWORD" -eq 1 ] && words="{first}"
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [ ${{#COMPREPLY[@]}} -eq 0 ] && COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _ppdet ppdet
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])
    return parser


def main(args: argparse.Namespace) -> None:
    """Does what the options say."""
    from ppdet_lite.core.shipped import shipped_configs

    options, configs = options_of_commands(), " ".join(shipped_configs())
    if args.shell == "fish":
        print(_fish(options, configs))
        return
    if args.shell == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit")
    print(_bash(options, configs), end="")


def options_of_commands() -> dict[str, list[str]]:
    """Command -> its long options and fixed words, as its parser has them."""
    from ppdet_lite.commands.main import COMMANDS

    found = {}
    for name, (module, _) in COMMANDS.items():
        parser = importlib.import_module(f"ppdet_lite.commands.{module}").build_parser()
        words = [word for word in parser._option_string_actions if word.startswith("--")]
        for action in parser._get_positional_actions():
            words += [str(choice) for choice in action.choices or ()]
        found[name] = words
    return found


def _bash(options: dict[str, list[str]], configs: str) -> str:
    def cases(names: list[str], margin: str) -> str:
        return "\n".join(f'{margin}"{n}") words="{" ".join(options[n])}";;' for n in names)

    groups: dict[str, list[str]] = {}
    for name in options:
        first, _, second = name.partition(" ")
        groups.setdefault(first, []).extend([second] if second else [])
    plain = [name for name in options if " " not in name]
    one = cases(plain, "      ")
    one += "".join(f'\n      "{g}") words="{" ".join(s)}";;' for g, s in groups.items() if s)
    two = cases([name for name in options if " " in name], "    ")
    return _BASH.format(configs=configs, one=one, two=two, first=" ".join(groups))


def _fish(options: dict[str, list[str]], configs: str) -> str:
    lines = ["# Completion of ppdet for fish."]
    for name, words in options.items():
        first, _, second = name.partition(" ")
        lines.append(f"complete -c ppdet -n __fish_use_subcommand -f -a {first}")
        seen = f"__fish_seen_subcommand_from {first}"
        if second:
            lines.append(f"complete -c ppdet -n '{seen}' -f -a {second}")
            seen += f"; and __fish_seen_subcommand_from {second}"
        for word in words:
            if word == "--config":
                lines.append(f"complete -c ppdet -n '{seen}' -s c -l config -r -a '{configs}'")
            elif word.startswith("--"):
                lines.append(f"complete -c ppdet -n '{seen}' -l {word[2:]}")
            else:
                lines.append(f"complete -c ppdet -n '{seen}' -f -a {word}")
    return "\n".join(dict.fromkeys(lines))
