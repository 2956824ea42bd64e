package main

import "strings"

// GNU parallel's options that brood run does not have, and other names of those that it has. Its
// command lines are in many scripts: what they mean here is done, and what brood can't do it says
// with what to use instead, so that nothing is done by halves. docs/parallel.md has all of them.

// gnuNames are GNU parallel's other names of brood run's flags. Those that lack only hyphens are
// made by gnuAliases.
var gnuNames = map[string]string{
	"joblog":           "jl",
	"results":          "result res",
	"lb":               "line-buffer line-buffered",
	"term-seq":         "termseq",
	"wd":               "work-dir workdir",
	"dry-run":          "dr",
	"halt":             "halt-on-error",
	"tagstring":        "tag-string",
	"ctagstring":       "ctag-string",
	"color":            "colour",
	"color-failed":     "colour-failed color-fail colour-fail cf",
	"colsep":           "col-sep",
	"regexp":           "regex",
	"link":             "xapply",
	"pipe":             "spreadstdin",
	"rrs":              "remove-rec-sep",
	"block":            "block-size",
	"keep-order":       "",
	"resume-failed":    "",
	"retry-failed":     "",
	"arg-sep":          "",
	"arg-file-sep":     "",
	"arg-file":         "",
	"max-args":         "",
	"max-lines":        "",
	"max-chars":        "",
	"max-procs":        "",
	"no-run-if-empty":  "",
	"pipe-part":        "",
	"max-replace-args": "",
}

// gnuRefused are options of GNU parallel's with what to use instead. Their names without hyphens
// are known as well.
var gnuRefused = []struct{ names, instead string }{
	{"sshlogin,S sshloginfile slf onall nonall filter-hosts filter-host controlmaster,M ssh ssh-delay transfer-file transfer-files tf transfer return trc cleanup basefile bf rsync-opts hostgroups hostgroup hostgrp hgrp", "is about other machines, and brood does not run jobs there yet"},
	{"semaphore", "is a command of its own: use brood sem"},
	{"semaphore-name id semaphore-timeout st fg bg wait", "belongs to brood sem"},
	{"sql sql-master sql-worker sql-and-worker", "needs a database: use --json for what a table has, or --joblog and --resume to go on"},
	{"quote,q", "quotes the command for the shell: use --no-shell, which has none, and each word arrives as it is"},
	{"shell-quote shell_quote", "is not known: --dry-run shows a command as it is quoted"},
	{"eof,E e", "ends the input at a line: cut it with sed '/^TEXT$/Q'"},
	{"i", "is old: use -I TEXT"},
	{"l", "is old: use -L N"},
	{"t", "prints commands on standard error: use -v, or --progress"},
	{"interactive,p", "asks before each job: look with --dry-run, and choose the input"},
	{"exit,x", "is not needed: a command line that is too long is an error of its job, and --halt now,fail=1 ends the rest"},
	{"parens", "is not known: the steps stand in {= =}, or give them a name with --rpl"},
	{"extensionreplace er U basenamereplace bnr dirnamereplace dnr basenameextensionreplace bner seqreplace slotreplace", "is not known: use --rpl 'TEXT s/.../.../' or the strings themselves"},
	{"process-slot-var", "is not known: jobs have their slot in $PARALLEL_JOBSLOT, from 1"},
	{"filter", "needs Perl: choose the input before, with grep or awk"},
	{"template tmpl", "is not known: write the file in the command, with sed or envsubst"},
	{"round-robin round", "is not known: --pipe-part --block -1, or --pipe with a larger --block, give each job more"},
	{"tee shard bin group-by", "is not known: --pipe and --pipe-part cut the input into blocks"},
	{"cat fifo", "is not known: have the job write its input first, as in --pipe 'cat > {#}.in; wc {#}.in; rm {#}.in'"},
	{"block-timeout bt", "is not known: with -N a block is there when its records are"},
	{"files output-as-files", "is not known: --results DIR keeps the output in files"},
	{"compress compress-program use-compress-program decompress-program use-decompress-program", "is not needed: only large output is kept in a file, in $TMPDIR"},
	{"tmpdir tempdir", "is not known: set TMPDIR"},
	{"tmux tmux-pane latest-line ll", "is not known: use --lb --tag, or brood ctl jobs to see what runs"},
	{"open-tty,o", "is not known: --tty gives the terminal to one job at a time"},
	{"profile,J", "is not known: no options are read from files or from $PARALLEL; make a shell alias"},
	{"embed session record-env", "is not known: jobs get the whole environment"},
	{"shebang hashbang shebang-wrap skip-first-line", "is not known: write a script that calls brood run"},
	{"total-jobs total", "is not known: --eta goes by what has been read, and {##} reads all of it"},
	{"number-of-cpus number-of-cores number-of-sockets number-of-threads", "is not known: use nproc or lscpu"},
	{"use-sockets-instead-of-threads use-cores-instead-of-threads use-cpus-instead-of-cores", "is not known: say -j N"},
	{"max-line-length-allowed show-limits", "is not known: an argument can have 128K, and a command line what getconf ARG_MAX says"},
	{"shell-completion", "is a command of its own: use brood completion"},
	{"version,V min-version", "is a flag of the command itself: use brood --version"},
}

// gnuFlags makes GNU parallel's options known.
func (f *runFlags) gnuFlags(p *page) {
	for name, others := range gnuNames {
		p.alias(name, strings.ReplaceAll(name, "-", ""))
		for _, o := range strings.Fields(others) {
			p.alias(name, o, strings.ReplaceAll(o, "-", ""))
		}
	}
	for _, r := range gnuRefused {
		for _, name := range strings.Fields(r.names) {
			p.refuse(name, r.instead)
		}
	}
	// Some say only what is so anyway, or take back what stands before.
	for _, s := range []struct {
		names string
		do    func()
	}{
		{"group", func() { f.ungroup, f.lineBuffer = false, false }},
		{"silent", func() { f.verbose = false }},
		{"no-keep-order no-k", func() { f.keepOrder = false }},
		{"gnu plain will-cite nn no-notice", func() {}},
	} {
		for _, name := range strings.Fields(s.names) {
			p.hidden(name, func() error {
				s.do()
				return nil
			})
		}
	}
}
