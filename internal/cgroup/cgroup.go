// Package cgroup finds this process's control groups and what they allow.
package cgroup

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Home finds the directory of this process's own cgroup: in the version 2
// hierarchy for controller "", else in the version 1 hierarchy of that
// controller. The hierarchy may be mounted anywhere (beside version 1, version 2
// is often at /sys/fs/cgroup/unified), so the mount table is asked. It is below
// mount, the directory where the hierarchy is mounted.
func Home(controller string) (dir, mount string, err error) { return home("/", controller) }

// home is Home with the files below root.
func home(root, controller string) (dir, mount string, err error) {
	own, err := ownPath(root, controller)
	if err != nil {
		return "", "", err
	}
	f, err := os.Open(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		top, point, ok := parseMount(sc.Text(), controller)
		if !ok {
			continue
		}
		rel, err := filepath.Rel(top, own)
		if err != nil || strings.HasPrefix(rel, "..") {
			continue // our cgroup lies outside of what this mount shows
		}
		mount = filepath.Join(root, point)
		return filepath.Join(mount, rel), mount, nil
	}
	return "", "", fmt.Errorf("cgroup: no mount shows %s", own)
}

// ownPath is this process's path within the hierarchy.
func ownPath(root, controller string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if controller == "" && f[0] == "0" || controller != "" && hasWord(f[1], controller) {
			return f[2], nil
		}
	}
	return "", fmt.Errorf("cgroup: not in a hierarchy %q", controller)
}

// parseMount reads one line of mountinfo and reports the mount's root and
// mount point if it is the hierarchy asked for.
func parseMount(line, controller string) (top, point string, ok bool) {
	left, right, found := strings.Cut(line, " - ")
	l, r := strings.Fields(left), strings.Fields(right)
	if !found || len(l) < 5 || len(r) < 3 {
		return "", "", false
	}
	if controller == "" {
		ok = r[0] == "cgroup2"
	} else {
		ok = r[0] == "cgroup" && hasWord(r[2], controller)
	}
	return l[3], l[4], ok
}

// hasWord reports whether a comma-separated list holds word.
func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}
