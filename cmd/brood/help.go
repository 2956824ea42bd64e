package main

// replacementStrings are what a template can hold, in the page of brood run.
const replacementStrings = `  {} the input   {.} without extension   {/} base name   {//} directory   {/.} both
  {1} {2.} {-1/} the same of one source or column   {#} job number   {%} slot
  {1:text} text if there is none   {##} number of all jobs (reads all of the input first)
  {= STEPS =} {=1 STEPS =} changed by s/RE2/text/gi, tr/a-z/A-Z/d, uc, lc; with ; between
`

// runExit, runSignals and runExamples end the page of brood run: its examples work when they are
// pasted.
const runExit = `Exit code: 0, the number of failed jobs up to 100, 101 for more, 255 for an error
of brood's own.
`

const runSignals = `Ctrl-C: start no more jobs; again: end them; again: kill them. HUP is like Ctrl-C, TERM
ends them, Ctrl-\ kills them, USR1 lists what runs. brood ctl does the same, and more.
`

const runExamples = `Examples
  brood run gzip -9 ::: *.log
  find . -name '*.flac' -print0 | brood run -0 --bar ffmpeg -i {} {.}.mp3
  brood run -k --tag sh -c 'echo $0 $1' {1} {2} ::: a b ::: 1 2 3
  brood run --joblog jobs.log --resume --timeout 10m --retries 3 :::: commands.txt
  brood run --policy mlfq --progress ./test {} ::: tests/*
  brood run --no-shell -C '\t' --json curl -sfo {2} {1} :::: urls.tsv
`
