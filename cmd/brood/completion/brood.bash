# bash completion for brood                                -*- shell-script -*-

# __brood_split cuts the line up to the cursor: words, freed of quotes, without redirections; raw is
# the last word as it was typed, quote the one that is open. It fails where only bash knows what a
# word is: of expansions that run something, of a file that is redirected, of several commands.
__brood_split() {
    local rest=${COMP_LINE:0:COMP_POINT} c word='' skip=''
    words=() raw='' quote=''
    while [[ -n $rest ]]; do
        c=${rest:0:1} rest=${rest:1}
        if [[ $quote == "'" ]]; then
            raw+=$c
            if [[ $c == "'" ]]; then quote=''; else word+=$c; fi
            continue
        fi
        case $c in
        \\)
            raw+=$c${rest:0:1}
            if [[ -n $quote && ${rest:0:1} != [\$\"\\\`$'\n'] ]]; then
                word+=$c
            fi
            if [[ ${rest:0:1} != $'\n' ]]; then
                word+=${rest:0:1}
            fi
            rest=${rest:1}
            continue
            ;;
        '"')
            raw+=$c
            if [[ -n $quote ]]; then quote=''; else quote=$c; fi
            continue
            ;;
        '`') return 1 ;;
        '$')
            case $rest in
            '('*) return 1 ;;
            [\'\"]*) if [[ -z $quote ]]; then return 1; fi ;;
            esac
            ;;
        esac
        if [[ -n $quote ]]; then
            word+=$c raw+=$c
            continue
        fi
        case $c in
        "'")
            raw+=$c quote=$c
            ;;
        ' ' | $'\t')
            if [[ -n $raw ]]; then
                if [[ -z $skip ]]; then words+=("$word"); fi
                word='' raw='' skip=''
            fi
            ;;
        '<' | '>' | '&')
            case $c$rest in
            '<('* | '>('*) return 1 ;;
            '&>'* | '<'* | '>'*) ;;
            *) return 1 ;;
            esac
            case $raw in
            '' | *[!0-9]*)
                if [[ -n $raw && $raw != '{'[A-Za-z_]*'}' && -z $skip ]]; then words+=("$word"); fi
                ;;
            esac
            word='' raw='' skip=1
            rest=${rest#"${rest%%[!<>&|]*}"}
            ;;
        ';' | '|' | '(' | ')' | $'\n') return 1 ;;
        *)
            word+=$c raw+=$c
            ;;
        esac
    done
    if [[ -n $skip ]]; then
        return 1
    fi
    words+=("$word")
}

# __brood_ask asks brood: out and directive are what it answers.
__brood_ask() {
    local program=${words[0]}
    if [[ $program == '~/'* ]]; then
        program=$HOME/${program#'~/'}
    fi
    if [[ ${program##*/} != brood ]] || ! type -P "$program" >/dev/null; then
        program=brood
    fi
    out=$(command "$program" __complete "${words[@]:1}" 2>/dev/null </dev/null) || return 1
    directive=${out##*:}
    out=${out%:*}
    case $directive in
    '' | *[!0-9]*) return 1 ;;
    esac
    ((!(directive & 1)))
}

# __brood_option changes how readline takes the answer, if this bash can.
__brood_option() {
    if [[ $(type -t compopt) == builtin || $(type -t compopt) == function ]]; then
        compopt "$@" 2>/dev/null
    fi
}

# __brood_directories answers with directories that begin with value.
__brood_directories() {
    local name
    case $value in
    *[\$\`]*) return ;; # some versions of bash expand it
    esac
    __brood_option -o filenames
    while IFS= read -r name; do
        COMPREPLY+=("${name#"$cut"}")
    done < <(compgen -d -- "$value")
}

# __brood_words answers with the words of out that begin with value, each as it may stand on a line.
__brood_words() {
    local line word safe
    while IFS= read -r line; do
        word=${line%%$'\t'*}
        if [[ -z $word || ${word:0:${#value}} != "$value" ]]; then
            continue
        fi
        safe=$word
        case $word in
        '~'* | *[!A-Za-z0-9_./:=,@%+~-]*)
            printf -v safe %q "$word"
            if [[ -n $quote ]]; then
                continue # it would need other quotes
            fi
            ;;
        esac
        safe=$flag$safe
        COMPREPLY+=("${safe#"$cut"}")
        about+=("${line#"$word"}")
        if ((${#safe} - ${#cut} > longest)); then
            longest=$((${#safe} - ${#cut}))
        fi
    done <<<"$out"
}

# __brood_describe says what each word is, where they are listed.
__brood_describe() {
    local i text room
    for i in "${!COMPREPLY[@]}"; do
        text=${about[i]#$'\t'}
        room=$((${COLUMNS:-80} - longest - 4))
        if [[ -z $text ]] || ((room < 9)); then
            continue
        fi
        if ((${#text} > room)); then
            text=${text:0:room-1}…
        fi
        printf -v COMPREPLY[i] '%-*s  (%s)' "$longest" "${COMPREPLY[i]}" "$text"
    done
}

__start_brood() {
    local raw quote out directive value breaks flag='' cut='' longest=0 IFS=$' \t\n'
    local -a words about=()
    COMPREPLY=()
    __brood_split && ((${#words[@]} > 1)) && __brood_ask || return 0
    value=${words[${#words[@]}-1]}
    case $value in
    -*=*) flag=${value%%=*}= value=${value#*=} ;;
    esac
    # readline puts the answer in the place of what follows the last : or =, or the open quote.
    case $raw in
    *\\* | *[\'\"]*[\'\"]*) return 0 ;;
    *[\'\"]*)
        if [[ -z $quote ]]; then return 0; fi
        cut=${raw%%[\'\"]*}
        ;;
    *[:=]*)
        breaks=${COMP_WORDBREAKS//[!:=]/}
        if [[ -n $breaks ]]; then cut=${raw%"${raw##*["$breaks"]}"}; fi
        ;;
    esac
    if ((directive & 2)); then __brood_option -o nospace; fi
    if ((directive & 4)); then __brood_option +o default; fi
    if ((directive & 32)); then __brood_option -o nosort; fi
    if ((directive & 16)); then
        cut=${cut#"$flag"}
        __brood_directories
        return 0
    fi
    __brood_words
    if ((${#COMPREPLY[@]} > 1 && COMP_TYPE != 37 && COMP_TYPE != 42)); then
        __brood_describe
    fi
}

if [[ $(type -t compopt) == builtin ]]; then
    complete -o default -F __start_brood brood
else
    complete -o default -o nospace -F __start_brood brood
fi
