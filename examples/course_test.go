//go:build linux

package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// course are the chapters in their order. Those without a program are still to come.
var course = []string{
	"multiprogramming", "process", "process_type", "scheduling", "states", "submission", "join", "isolation", "pids", "zombies", "daemon",
	"tickets", "queue", "ipc", "kitchen",
	"threads", "shared_data", "daemon_thread", "echo_server", "gil", "lost_update", "memory",
	"deadlock", "rlock", "parking", "bus",
	"pool", "callback",
	"coroutine",
}

// section is what docs/course.md says of a chapter.
type section struct{ chapter, text string }

func sections(t *testing.T) (all []section) {
	t.Helper()
	text, err := os.ReadFile("../docs/course.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n### ")[1:] {
		chapter, rest, _ := strings.Cut(part, "\n")
		rest, _, _ = strings.Cut(rest, "\n## ")
		all = append(all, section{chapter, rest})
	}
	return all
}

// The document leads through all chapters in their order, and lists them at the beginning.
func TestCourseInOrder(t *testing.T) {
	text, err := os.ReadFile("../docs/course.md")
	if err != nil {
		t.Fatal(err)
	}
	contents, _, _ := strings.Cut(string(text), "\n## ")
	var listed, got, want []string
	for _, m := range regexp.MustCompile(`\[(\w+)\]\(#(\w+)\)`).FindAllStringSubmatch(contents, -1) {
		listed = append(listed, m[2])
	}
	for _, s := range sections(t) {
		got = append(got, s.chapter)
	}
	for _, chapter := range course {
		if _, err := os.Stat(filepath.Join(chapter, "main.go")); err == nil {
			want = append(want, chapter)
		} else if !strings.Contains(string(text), "| `"+chapter+"` |") {
			t.Errorf("%s has no program, and docs/course.md does not say when it comes", chapter)
		}
	}
	if !slices.Equal(got, want) || !slices.Equal(listed, want) {
		t.Errorf("chapters in docs/course.md:\n%v, listed at its beginning:\n%v, want:\n%v", got, listed, want)
	}
}

// asShown checks that what the document shows of a program's output is what it has printed, but
// for numbers, for who of two was first, and for what it leaves out: «…».
func (o *output) asShown(chapter string) {
	o.t.Helper()
	number := regexp.MustCompile(`\d+`)
	either := strings.NewReplacer("true", "(true|false)", "Ann", "(Ann|Bob)", "Bob", "(Ann|Bob)", "fork", "(fork|knife)", "knife", "(fork|knife)", "…", ".*")
	all := sections(o.t)
	i := slices.IndexFunc(all, func(s section) bool { return s.chapter == chapter })
	if i < 0 {
		o.t.Errorf("docs/course.md has no section %s", chapter)
		return
	}
	lines := shown(all[i].text)
	if len(lines) == 0 {
		o.t.Errorf("docs/course.md does not show what %s prints", chapter)
	}
	printed := strings.Join(strings.Fields(o.stdout+" "+o.stderr), " ")
	for _, line := range lines {
		want := number.ReplaceAllString(either.Replace(regexp.QuoteMeta(line)), `\d+`)
		if !regexp.MustCompile(want).MatchString(printed) {
			o.t.Errorf("docs/course.md shows %q, which is not printed; %s", line, o)
		}
	}
}

// shown are the lines of output in a chapter's text, with single spaces: what is indented, but
// for commands.
func shown(text string) (lines []string) {
	for _, block := range strings.Split(text, "\n\n") {
		if !strings.HasPrefix(strings.TrimLeft(block, "\n"), "    ") || strings.Contains(block, "go run ") {
			continue
		}
		for line := range strings.Lines(block) {
			if line = strings.Join(strings.Fields(line), " "); line != "" && line != "…" {
				lines = append(lines, line)
			}
		}
	}
	return lines
}
