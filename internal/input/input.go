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

// File is the name of the file that a source is, - for standard input.
func (s Source) File() (path string, ok bool) { return s.path, s.isFile }

// Flag is how the source was named on the command line.
func (s Source) Flag() string { return s.flag }

// Separators are the words that begin sources: of values and of files. With a + at the end
// they link.
type Separators struct{ Values, Files string }

// source is what a word begins, if it is a separator.
func (w Separators) source(word string) (isFile, linked, ok bool) {
	switch word {
	case w.Values, w.Values + "+":
		return false, word != w.Values, true
	case w.Files, w.Files + "+":
		return true, word != w.Files, true
	}
	return false, false, false
}

// Split separates the arguments of a command line into the command and its
// sources, at ::: and ::::.
func Split(args []string) (command []string, sources []Source, err error) {
	return Separators{":::", "::::"}.Split(args)
}

// Split separates the arguments of a command line into the command and its
// sources.
func (w Separators) Split(args []string) (command []string, sources []Source, err error) {
	for len(args) > 0 {
		sep := args[0]
		isFile, linked, ok := w.source(sep)
		if !ok {
			command = append(command, sep)
			args = args[1:]
			continue
		}
		n := 1
		for ; n < len(args); n++ {
			if _, _, ok := w.source(args[n]); ok {
				break
			}
		}
		values := args[1:n]
		args = args[n:]
		if linked && len(sources) == 0 {
			return nil, nil, fmt.Errorf("%s links a source to the one before it, but there is none: begin with %s", sep, strings.TrimSuffix(sep, "+"))
		}
		if !isFile {
			sources = append(sources, Source{values: values, linked: linked, flag: sep})
			continue
		}
		if len(values) == 0 {
			return nil, nil, fmt.Errorf("%s needs the name of a file, or - for standard input", sep)
		}
		for _, path := range values {
			sources = append(sources, Source{path: path, isFile: true, linked: linked, flag: sep})
		}
	}
	return command, sources, check(sources)
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
