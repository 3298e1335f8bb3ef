"""Completion scripts of bash, zsh and fish. One function of bash serves zsh as well, by its
`bashcompinit`."""

from __future__ import annotations

import shlex
from typing import Mapping, Sequence

from ppdet_lite.cli.completion.words import Option

Commands = Mapping[str, tuple[str, Sequence[Option]]]
"""Name (of one or two words) -> what it does, its options."""

_BASH = """# completion of ppdet; in ~/.bashrc: eval "$(ppdet completion bash)"
_ppdet() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} command= option= i word
    local configs={configs}
    COMPREPLY=()
    for (( i = 1; i < COMP_CWORD; i++ )); do
        word=${{COMP_WORDS[i]}}
        case $word in
            -*) option=$word ;;
            *) case "$i $command" in
                "1 ") command=$word ;;
{two_words}
            esac ;;
        esac
    done
    case "$command" in
        {first}
    esac
    case "$command" in
{groups}
    esac
    case "$command $option" in
{values}
    esac
    if [[ $cur == -* ]]; then
        case "$command" in
{options}
        esac
    fi
}}
complete -F _ppdet ppdet
"""

_ZSH = """# completion of ppdet; in ~/.zshrc after compinit: eval "$(ppdet completion zsh)"
autoload -U +X bashcompinit && bashcompinit
"""


def _reply(text: str, flags: str = "") -> str:
    flags = flags or f"-W {shlex.quote(text)}"
    return f'COMPREPLY=($(compgen {flags} -- "$cur"))'


def bash(commands: Commands, configs: Sequence[str]) -> str:
    """The script for bash."""
    firsts = " ".join(dict.fromkeys(name.split()[0] for name in commands))
    groups: dict[str, list[str]] = {}
    for name in commands:
        if " " in name:
            groups.setdefault(name.split()[0], []).append(name.split()[1])
    flags = {
        "config": '-W "$configs" -f',
        "folder": "-d",
        "file": "-f",
    }
    values, options = [], []
    for name, (_, listed) in commands.items():
        pattern = _pattern(name)
        for option in (each for each in listed if each.kind not in ("none", "other")):
            choices = option.choices if option.kind == "words" else ()
            reply = _reply(" ".join(choices), flags.get(option.kind, ""))
            names = "|".join(f'{pattern}" {each}"' for each in option.names) or f'{pattern}" "'
            values.append(f"        {names}) {reply} ;;")
        words = [each for option in listed for each in option.names]
        options.append(f"            {pattern}) {_reply(' '.join(words))} ;;")
    return _BASH.format(
        configs=shlex.quote(" ".join(configs)),
        two_words="\n".join(f'                "2 {word}") command+=" $word" ;;' for word in groups),
        first=f'"") {_reply(firsts)}; return ;;',
        groups="\n".join(
            f'        "{word}") {_reply(" ".join(names))}; return ;;'
            for word, names in groups.items()
            if word not in commands
        ),
        values="\n".join(values),
        options="\n".join(options),
    )


def _pattern(name: str) -> str:
    """Commands of one word may be followed by a word of their own."""
    return shlex.quote(name) if " " in name else f"{name}"


def zsh(commands: Commands, configs: Sequence[str]) -> str:
    """The script for zsh."""
    return _ZSH + bash(commands, configs).partition("\n")[2]


def fish(commands: Commands, configs: Sequence[str]) -> str:
    """The script for fish."""
    lines = ["# completion of ppdet; ppdet completion fish > ~/.config/fish/completions/ppdet.fish"]
    lines.append("complete -c ppdet -f")
    for name, (text, listed) in commands.items():
        words = name.split()
        seen = "not __fish_seen_subcommand_from " + " ".join(
            dict.fromkeys(each.split()[0] for each in commands)
        )
        if len(words) == 2:
            lines.append(f"complete -c ppdet -n {shlex.quote(seen)} -a {words[0]}")
            inside = f"__fish_seen_subcommand_from {words[0]}"
            lines.append(
                f"complete -c ppdet -n {shlex.quote(inside)} -a {words[1]} -d {shlex.quote(text)}"
            )
        else:
            lines.append(
                f"complete -c ppdet -n {shlex.quote(seen)} -a {words[0]} -d {shlex.quote(text)}"
            )
        here = shlex.quote(" && ".join(f"__fish_seen_subcommand_from {word}" for word in words))
        for option in listed:
            parts = [f"complete -c ppdet -n {here}", f"-d {shlex.quote(option.help)}"]
            for each in option.names:
                is_long = each.startswith("--")
                parts.append(f"-l {each[2:]}" if is_long else f"-s {each[1:]}")
            if option.kind == "words":
                parts.append(f"-x -a {shlex.quote(' '.join(option.choices))}")
            elif option.kind == "config":
                parts.append(f"-rF -a {shlex.quote(' '.join(configs))}")
            elif option.kind == "folder":
                parts.append("-x -a '(__fish_complete_directories)'")
            elif option.kind != "none":
                parts.append("-rF")
            if option.names or option.kind != "other":
                lines.append(" ".join(parts))
    return "\n".join(lines) + "\n"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
