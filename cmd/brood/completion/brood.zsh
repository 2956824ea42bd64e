#compdef brood
compdef _brood brood

# zsh completion for brood                                -*- shell-script -*-

_brood() {
    local program=${(Q)words[1]} out line word
    local -a args lines candidates order space
    local -i directive
    # (Q) takes quotes away and expands nothing. Redirections are not in words.
    args=("${(@Q)words[2,CURRENT]}")
    args[-1]=${(Q)PREFIX}
    case $program in
    '~/'*) program=$HOME/${program#'~/'} ;;
    esac
    if [[ ${program##*/} != brood || ! -x ${program} ]]; then
        program=brood
    fi
    out=$(command "$program" __complete "${args[@]}" 2>/dev/null </dev/null) || return 1
    lines=("${(@f)out}")
    if [[ $lines[-1] != :<-> ]]; then
        return 1
    fi
    directive=${lines[-1]#:}
    if (( directive & 1 )); then
        return 1
    fi
    # zsh itself runs what a path has in it when it looks for files.
    case $PREFIX${(Q)PREFIX} in
    *'$('* | *'`'*) return 1 ;;
    esac
    case $PREFIX in
    -*=*) compset -P 1 '*=' ;; # what is completed is the value
    esac
    if (( directive & 16 )); then
        _files -/
        return
    fi
    for line in "${(@)lines[1,-2]}"; do
        word=${line%%$'\t'*}
        if [[ $line == *$'\t'* ]]; then
            candidates+=("${word//:/\\:}:${line#*$'\t'}")
        elif [[ -n $word ]]; then
            candidates+=("${word//:/\\:}")
        fi
    done
    if (( directive & 2 )); then
        space=(-S '')
    fi
    if (( directive & 32 )); then
        order=(-V)
    fi
    if (( $#candidates )) && _describe $order brood candidates "${space[@]}"; then
        return 0
    fi
    if (( directive & 4 )); then
        return 1
    fi
    _files
}

# Of a script that is autoloaded this is the function; of one that is sourced it is not called.
if [[ $funcstack[1] == _brood ]]; then
    _brood
fi
