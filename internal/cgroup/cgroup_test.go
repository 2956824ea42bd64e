package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

// tree makes files below a directory that stands for the root.
func tree(t *testing.T, files map[string]string) string {
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	mountV2     = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	mountHybrid = "30 24 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n" +
		"31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	mountInner = "30 24 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
)

func TestHome(t *testing.T) {
	for _, tt := range []struct{ name, mounts, own, controller, want string }{
		{"v2", mountV2, "0::/user.slice/x\n", "", "/sys/fs/cgroup/user.slice/x"},
		{"v2 beside v1", mountHybrid, "5:memory:/m\n0::/\n", "", "/sys/fs/cgroup/unified"},
		{"v1", mountHybrid, "5:memory:/m/n\n0::/\n", "memory", "/sys/fs/cgroup/memory/m/n"},
		{"in a container", mountInner, "0::/docker/abc/job\n", "", "/sys/fs/cgroup/job"},
		{"not shown", mountInner, "0::/elsewhere\n", "", ""},
		{"no such hierarchy", mountV2, "0::/\n", "memory", ""},
		{"no cgroups", "", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := tree(t, map[string]string{"proc/self/mountinfo": tt.mounts, "proc/self/cgroup": tt.own})
			dir, mount, err := home(root, tt.controller)
			if tt.want == "" {
				if err == nil {
					t.Errorf("found %s", dir)
				}
				return
			}
			if err != nil || dir != filepath.Join(root, tt.want) || len(mount) > len(dir) {
				t.Errorf("%s below %s, %v; want %s", dir, mount, err, tt.want)
			}
		})
	}
}

func TestCPUs(t *testing.T) {
	v2 := map[string]string{"proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/a/b\n"}
	v1 := map[string]string{"proc/self/mountinfo": mountHybrid, "proc/self/cgroup": "3:cpu,cpuacct:/c\n0::/\n"}
	for _, tt := range []struct {
		name  string
		base  map[string]string
		files map[string]string
		want  int
	}{
		{"no quota", v2, nil, 8},
		{"max", v2, map[string]string{"sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 8},
		{"own", v2, map[string]string{"sys/fs/cgroup/a/b/cpu.max": "250000 100000\n"}, 3},
		{"of the one above", v2, map[string]string{"sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 1},
		{"more than there are", v2, map[string]string{"sys/fs/cgroup/a/b/cpu.max": "9900000 100000\n"}, 8},
		{"garbage", v2, map[string]string{"sys/fs/cgroup/a/b/cpu.max": "many\n"}, 8},
		{"v1", v1, map[string]string{"sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us": "100000\n"}, 2},
		{"v1 without", v1, map[string]string{"sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us": "100000\n"}, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			for _, m := range []map[string]string{tt.base, tt.files} {
				for k, v := range m {
					files[k] = v
				}
			}
			if got := cpus(tree(t, files), 8); got != tt.want {
				t.Errorf("%d CPUs, want %d", got, tt.want)
			}
		})
	}
	if n := CPUs(); n < 1 {
		t.Errorf("%d CPUs here", n)
	}
}
