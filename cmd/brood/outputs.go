package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/brood-go/brood/chart"
)

// outputs are the files of --trace and --svg. They are opened before anything runs, so
// that what can't be written is known in time, and written at the end.
type outputs struct{ trace, svg *os.File }

// openOutputs opens the files that are named.
func openOutputs(trace, svg string) (o outputs, err error) {
	open := func(flag, path string) *os.File {
		if path == "" || err != nil {
			return nil
		}
		f, oerr := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
		if oerr != nil {
			err = fmt.Errorf("--%s %s: %w: name a file that can be written", flag, path, cause(oerr))
		}
		return f
	}
	o = outputs{open("trace", trace), open("svg", svg)}
	if err == nil && o.trace != nil && o.svg != nil {
		a, aerr := o.trace.Stat()
		b, berr := o.svg.Stat()
		if aerr == nil && berr == nil && a.Mode().IsRegular() && os.SameFile(a, b) {
			err = fmt.Errorf("--trace and --svg name the same file, %s: use two", svg)
		}
	}
	if err != nil {
		o.close()
	}
	return o, err
}

// any reports whether there is a file.
func (o outputs) any() bool { return o.trace != nil || o.svg != nil }

// close closes what write has not. Errors are write's.
func (o outputs) close() {
	for _, f := range []*os.File{o.trace, o.svg} {
		if f != nil {
			f.Close()
		}
	}
}

// write writes the files.
func (o outputs) write(d chart.Document, meta map[string]string) error {
	err := replaceFile(o.trace, "trace", func(w io.Writer) error { return chart.TraceEvents(w, d.Schedules, meta) })
	if serr := replaceFile(o.svg, "svg", func(w io.Writer) error { return chart.SVG(w, d) }); err == nil {
		err = serr
	}
	return err
}

// replaceFile writes a file in place of what was in it.
func replaceFile(f *os.File, flag string, draw func(io.Writer) error) error {
	if f == nil {
		return nil
	}
	var err error
	if fi, serr := f.Stat(); serr == nil && fi.Mode().IsRegular() {
		err = f.Truncate(0)
	}
	w := bufio.NewWriterSize(f, 64<<10)
	if err == nil {
		err = draw(w)
	}
	if err == nil {
		err = w.Flush()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("--%s %s: %w", flag, f.Name(), cause(err))
	}
	return nil
}
