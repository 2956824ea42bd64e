// Package input reads the inputs of a batch from a command line in GNU
// parallel's manner: values after :::, lines of files after ::::, standard input.
package input

import (
	"errors"
	"fmt"
	"strings"
)

// Source is one source of values.
type Source struct {
	values []string
	path   string // of a file, if isFile; "-" is standard input
	isFile bool
	linked bool   // goes in pairs with the source before it
	flag   string // how it was named, for errors
}

// FileSource is a source given by -a.
func FileSource(path string) Source { return Source{path: path, isFile: true, flag: "-a"} }

// separators are the words that begin a source.
var separators = map[string]struct{ isFile, linked bool }{
	":::":   {},
	":::+":  {linked: true},
	"::::":  {isFile: true},
	"::::+": {isFile: true, linked: true},
}

// Split separates the arguments of a command line into the command and its
// sources.
func Split(args []string) (command []string, sources []Source, err error) {
	for len(args) > 0 {
		sep := args[0]
		kind, ok := separators[sep]
		if !ok {
			command = append(command, sep)
			args = args[1:]
			continue
		}
		n := 1
		for n < len(args) && !isSeparator(args[n]) {
			n++
		}
		values := args[1:n]
		args = args[n:]
		if kind.linked && len(sources) == 0 {
			return nil, nil, fmt.Errorf("%s links a source to the one before it, but there is none: begin with %s", sep, strings.TrimSuffix(sep, "+"))
		}
		if !kind.isFile {
			sources = append(sources, Source{values: values, linked: kind.linked, flag: sep})
			continue
		}
		if len(values) == 0 {
			return nil, nil, fmt.Errorf("%s needs the name of a file, or - for standard input", sep)
		}
		for _, path := range values {
			sources = append(sources, Source{path: path, isFile: true, linked: kind.linked, flag: sep})
		}
	}
	return command, sources, check(sources)
}

func isSeparator(s string) bool {
	_, ok := separators[s]
	return ok
}

// check finds what can't work before anything is read.
func check(sources []Source) error {
	stdin := 0
	for _, s := range sources {
		if s.isFile && s.path == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return errors.New("standard input (-) is named twice as a source: it can be read only once")
	}
	return nil
}
