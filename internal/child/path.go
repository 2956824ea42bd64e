package child

import "os/exec"

// LookPath finds a program as a shell would: a name with a slash as it is,
// another in the directories of PATH. It returns "" if there is none, or if
// only an entry of PATH for the current directory would give it.
func LookPath(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}
