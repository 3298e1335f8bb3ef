"""Completion scripts of bash, zsh and fish. One function of bash serves zsh as well, by its
`bashcompinit`."""

from __future__ import annotations

import shlex
from typing import Mapping, Sequence

from ppdet_lite.cli.completion.words import Option

Commands = Mapping[str, tuple[str, Sequence[Option]]]
"""Name (of one or two words) -> what it does, its options."""

Lists = Mapping[str, Sequence[str]]
"""Kind of an option (config, weights, format) -> the names that it takes."""

WEIGHT_KEYS = ("weights", "pretrain_weights")
"""Keys of `-o` that take names of published weights."""

_BASH = """# completion of ppdet; in ~/.bashrc: eval "$(ppdet completion bash)"
_ppdet_words() {{  # one a line, so that names may hold blanks
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        [[ -z $quote ]] || word=$(printf %q "$word")
        COMPREPLY+=("$word")
    done < <(compgen "$@" -- "$cur")
}}
_ppdet_files() {{  # bash quotes blanks of file names by itself, but for old ones and zsh
    if type compopt > /dev/null 2>&1; then
        compopt -o filenames 2> /dev/null
    else
        local quote=yes
    fi
    _ppdet_words "$@"
}}
_ppdet_key_value() {{  # KEY=VALUE is one word or three, by COMP_WORDBREAKS
    local key= before= last=${{COMP_WORDS[COMP_CWORD-1]}}
    if [[ $cur == = ]]; then
        key=$last cur=
    elif [[ $last == = ]]; then
        key=${{COMP_WORDS[COMP_CWORD-2]}}
    elif [[ $cur == *=* ]]; then
        key=${{cur%%=*}} before=${{cur%%=*}}= cur=${{cur#*=}}
    else
        _ppdet_words -S = -W {keys}
        compopt -o nospace 2> /dev/null
        return
    fi
    case $key in
        {key_pattern}) _ppdet_files -P "$before" -W "$weights" -f ;;
    esac
}}
_ppdet() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} command= option= quote= i word
    local config={config}
    local weights={weights}
    local format={format}
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


_REPLIES = {
    "config": '_ppdet_files -W "$config" -f',
    "weights": '_ppdet_words -W "$weights"',
    "format": '_ppdet_words -W "$format"',
    "key": "_ppdet_key_value",
    "folder": "_ppdet_files -d",
    "file": "_ppdet_files -f",
}
"""What completes the value of an option of each kind but "words"."""


def _words(text: str) -> str:
    return f"_ppdet_words -W {shlex.quote(text)}"


def _first_words(names: str, options: str) -> str:
    return f"if [[ $cur == -* ]]; then {_words(options)}; else {_words(names)}; fi"


def bash(commands: Commands, lists: Lists) -> str:
    """The script for bash."""
    firsts = " ".join(dict.fromkeys(name.split()[0] for name in commands))
    groups: dict[str, list[str]] = {}
    for name in commands:
        if " " in name:
            groups.setdefault(name.split()[0], []).append(name.split()[1])
    values, options = [], []
    for name, (_, listed) in commands.items():
        pattern = _pattern(name)
        for option in (each for each in listed if each.kind not in ("none", "other")):
            reply = _REPLIES.get(option.kind) or _words(" ".join(option.choices))
            names = "|".join(f'{pattern}" {each}"' for each in option.names) or f'{pattern}" "'
            values.append(f"        {names}) {reply} ;;")
        words = [each for option in listed for each in option.names]
        options.append(f"            {pattern}) {_words(' '.join(words))} ;;")
    return _BASH.format(
        **{kind: shlex.quote(" ".join(names)) for kind, names in lists.items()},
        keys=shlex.quote(" ".join(WEIGHT_KEYS)),
        key_pattern="|".join(WEIGHT_KEYS),
        two_words="\n".join(f'                "2 {word}") command+=" $word" ;;' for word in groups),
        first=f'"") {_first_words(firsts, "--help --version")}; return ;;',
        groups="\n".join(
            f'        "{word}") {_first_words(" ".join(names), "--help")}; return ;;'
            for word, names in groups.items()
            if word not in commands
        ),
        values="\n".join(values),
        options="\n".join(options),
    )


def _pattern(name: str) -> str:
    """Commands of one word may be followed by a word of their own."""
    return shlex.quote(name) if " " in name else f"{name}"


def zsh(commands: Commands, lists: Lists) -> str:
    """The script for zsh."""
    return _ZSH + bash(commands, lists).partition("\n")[2]


def fish(commands: Commands, lists: Lists) -> str:
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
                parts.append(f"-rF -a {shlex.quote(' '.join(lists[option.kind]))}")
            elif option.kind in lists:
                parts.append(f"-x -a {shlex.quote(' '.join(lists[option.kind]))}")
            elif option.kind == "key":
                pairs = [f"{key}={name}" for key in WEIGHT_KEYS for name in lists["weights"]]
                parts.append(f"-rF -a {shlex.quote(' '.join(pairs))}")
            elif option.kind == "folder":
                parts.append("-x -a '(__fish_complete_directories)'")
            elif option.kind != "none":
                parts.append("-rF")
            if option.names or option.kind != "other":
                lines.append(" ".join(parts))
    return "\n".join(lines) + "\n"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
