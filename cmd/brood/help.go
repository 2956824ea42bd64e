package main

// help is what brood run --help prints: short enough to read, by groups, with
// examples that work when they are pasted.
const help = `Run a command once for each input, several at a time, in supervised processes.

usage: brood run [flags] [command [argument ...]] [::: values ... | :::: files ...]

Input (without any: lines of standard input; without a command: each is a command)
  ::: A B C                values; several ::: give every combination
  :::+ X Y Z               values that go in pairs with those of the source before
  :::: FILE                lines of a file (- is standard input)
  -a, --arg-file FILE      the same as a flag
  -0, --null               inputs end with a NUL byte, as of find -print0
  -d, --delimiter STRING   inputs end with STRING (\n, \t, \0, \x1f are known)
  -C, --colsep REGEXP      split each line into columns {1} {2} ...
      --no-shell           start the program itself: no shell, one word one argument

Replacement strings, quoted safely for the shell ({} is added if there is none)
  {} the input   {.} without extension   {/} base name   {//} directory   {/.} both
  {1} {2.} {-1/} the same of one source or column   {#} job number   {%} slot

Control
  -j, --jobs N             jobs at once: N, N% of the CPUs, +N, -N, 0 for all (100%)
      --timeout DURATION   end a job after 30, 30s, 1m30s, 2h (time paused is free)
      --cpu DURATION       end a job that has used so much CPU time
      --mem SIZE           end a job whose processes need more memory: 500M, 2G
      --nice N             lower the priority of jobs, 1 to 19
      --delay DURATION     least time between two starts
      --retries N          try a job up to N times
      --retry-delay D      pause before the second try, doubled for each further (100ms)
      --halt WHEN,WHY=N    now or soon, at the Nth fail, success or done (never)
      --wd DIR             working directory of jobs
      --env NAME=VALUE     set a variable for jobs (NAME alone: it must be set)
      --term-seq SEQ       how jobs are ended (TERM,200,TERM,100,TERM,50,KILL)
      --tty                give the terminal to one job at a time
      --dry-run            print the commands, run nothing
  -v, --verbose            print each command before its output

Output (by default that of each job together, when it ends)
  -k, --keep-order         in the order of the input
      --lb                 line by line, as it comes
  -u, --ungroup            straight through, mixed
      --tag                the input in front of each line
      --tagstring STRING   STRING in front of each line
      --results DIR        also into files: DIR/1/VALUE/stdout, stderr, seq, result.json
      --json               one JSON object for each job

Progress, on standard error
      --bar --progress --eta

Schedule
      --trace FILE         what every job and slot did, for ui.perfetto.dev
      --svg FILE           the same as a picture, for a browser

Job log
      --joblog FILE        one line for each job that has ended; FILE.journal beside it
      --resume             skip the jobs that an earlier run with this log has done
      --resume-failed      the same, but run those that failed again
      --retry-failed       run the failed commands of the log again; no input is read

Scheduling (jobs are paused and resumed so that as many compute at once as -j says)
      --policy POLICY      fcfs, sjf (shortest first), lpt (longest first), rr, mlfq, srpt
      --priority COLUMN    jobs with a higher number there first: 2, or {2}; each minute
                           of waiting counts as one more
      --degree N           jobs with a process at once, computing or not (-j and 64)
      --slice DURATION     CPU time of a turn of rr and mlfq (100ms, or by cost)
      --patience DURATION  after so long a wait sjf, lpt and srpt take a job whatever its
                           length: for an input that never ends
      --reserve            mlfq keeps one place for the oldest job (from -j8 on)
      --no-preempt[=REGEX] never pause jobs (whose command matches)
      --memfree SIZE       start a job only if so much memory stays free (a twentieth)
      --no-history         neither use nor record what jobs cost (see brood history)

Exit code: 0, the number of failed jobs up to 100, 101 for more, 255 for an error
of brood's own. Ctrl-C: start no more jobs; again: end them; again: kill them.
HUP is like Ctrl-C, TERM ends them, Ctrl-\ kills them, USR1 lists what runs.

Examples
  brood run gzip -9 ::: *.log
  find . -name '*.flac' -print0 | brood run -0 --bar ffmpeg -i {} {.}.mp3
  brood run -k --tag sh -c 'echo $0 $1' {1} {2} ::: a b ::: 1 2 3
  brood run --joblog jobs.log --resume --timeout 10m --retries 3 :::: commands.txt
  brood run --policy mlfq --progress ./test {} ::: tests/*
  brood run --no-shell -C '\t' --json curl -sfo {2} {1} :::: urls.tsv
`
