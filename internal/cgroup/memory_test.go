package cgroup

import (
	"errors"
	"maps"
	"math"
	"os"
	"runtime"
	"testing"
)

func TestMemory(t *testing.T) {
	const info = "MemTotal:       8000 kB\nMemFree:        100 kB\nMemAvailable:   5000 kB\nBuffers: 1 kB\n"
	const total, available = 8000 << 10, 5000 << 10
	v2 := map[string]string{"proc/meminfo": info, "proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/a/b\n"}
	v1 := map[string]string{"proc/meminfo": info, "proc/self/mountinfo": mountHybrid, "proc/self/cgroup": "3:memory:/c/d\n0::/\n"}
	const b, a, top = "sys/fs/cgroup/a/b/", "sys/fs/cgroup/a/", "sys/fs/cgroup/"
	const d, c = "sys/fs/cgroup/memory/c/d/", "sys/fs/cgroup/memory/c/"
	for _, tt := range []struct {
		name             string
		base             map[string]string
		files            map[string]string
		total, available int64
	}{
		{"no cgroups", map[string]string{"proc/meminfo": info}, nil, total, available},
		{"no limit", v2, nil, total, available},
		{"max", v2, map[string]string{b + "memory.max": "max\n", b + "memory.high": "max\n", b + "memory.current": "99999999999\n"}, total, available},
		{"own", v2, map[string]string{b + "memory.max": "1000000\n", b + "memory.current": "400000\n"}, 1000000, 600000},
		{"cache", v2, map[string]string{b + "memory.max": "1000000\n", b + "memory.current": "400000\n",
			b + "memory.stat": "anon 300000\ninactive_anon 7\ninactive_file 90000\nactive_file 1\n"}, 1000000, 690000},
		{"more cache than used", v2, map[string]string{b + "memory.max": "1000000\n", b + "memory.current": "4000\n", b + "memory.stat": "inactive_file 90000\n"}, 1000000, 1000000},
		{"over", v2, map[string]string{b + "memory.max": "1000\n", b + "memory.current": "4000\n"}, 1000, 0},
		{"nothing allowed", v2, map[string]string{b + "memory.max": "0\n", b + "memory.current": "0\n"}, 0, 0},
		{"throttled", v2, map[string]string{b + "memory.max": "1000000\n", b + "memory.high": "500000\n", b + "memory.current": "400000\n"}, 500000, 100000},
		{"of the one above", v2, map[string]string{b + "memory.max": "2000000\n", b + "memory.current": "100\n", a + "memory.max": "3000000\n", a + "memory.current": "2900000\n"}, 2000000, 100000},
		{"of the topmost", v2, map[string]string{b + "memory.max": "max\n", top + "memory.max": "70000\n", top + "memory.current": "60000\n"}, 70000, 10000},
		{"more than there is", v2, map[string]string{b + "memory.max": "99000000000\n", b + "memory.current": "1\n"}, total, available},
		{"garbage", v2, map[string]string{b + "memory.max": "much\n", a + "memory.max": "-5\n", a + "memory.current": "1", top + "memory.max": "99999999999999999999999\n"}, total, available},
		{"empty", v2, map[string]string{b + "memory.max": "", a + "memory.max": "\n"}, total, available},
		{"garbage beside a limit", v2, map[string]string{b + "memory.max": "1000000", b + "memory.current": "some\n", b + "memory.stat": "inactive_file\ninactive_file x\n\n"}, 1000000, 1000000},
		{"negative cache", v2, map[string]string{b + "memory.max": "1000000", b + "memory.current": "400000", b + "memory.stat": "inactive_file -9223372036854775808\n"}, 1000000, 600000},
		{"v1", v1, map[string]string{d + "memory.limit_in_bytes": "1000000\n", d + "memory.usage_in_bytes": "400000\n",
			d + "memory.stat": "inactive_file 1\ntotal_inactive_file 90000\n"}, 1000000, 690000},
		{"v1 without", v1, map[string]string{d + "memory.limit_in_bytes": "9223372036854771712\n", d + "memory.usage_in_bytes": "400000\n"}, total, available},
		{"v1 of the one above", v1, map[string]string{d + "memory.limit_in_bytes": "9223372036854771712\n", c + "memory.limit_in_bytes": "50000\n", c + "memory.usage_in_bytes": "20000\n"}, 50000, 30000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := maps.Clone(tt.base)
			maps.Copy(files, tt.files)
			root := tree(t, files)
			if n, err := memoryTotal(root); err != nil || n != tt.total {
				t.Errorf("total %d, %v; want %d", n, err, tt.total)
			}
			if n, err := memoryAvailable(root); err != nil || n != tt.available {
				t.Errorf("available %d, %v; want %d", n, err, tt.available)
			}
		})
	}
}

// Without the machine's own figures there is an error and no number to trust.
func TestMemoryUnknown(t *testing.T) {
	for _, info := range []string{"", "MemTotal:\nMemAvailable:\n", "MemTotal: many kB\nMemAvailable: -5 kB\n", "MemTotal: 9223372036854775807 kB\nMemAvailable: 9223372036854775807 kB\n"} {
		root := tree(t, map[string]string{"proc/meminfo": info})
		for name, f := range map[string]func(string) (int64, error){"total": memoryTotal, "available": memoryAvailable} {
			if n, err := f(root); err == nil || n != 0 {
				t.Errorf("%q: %s %d, %v", info, name, n, err)
			}
		}
	}
	if _, err := memoryTotal(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without /proc: %v", err)
	}
}

func TestMemoryHere(t *testing.T) {
	total, err := MemoryTotal()
	available, aerr := MemoryAvailable()
	if runtime.GOOS != "linux" {
		if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(aerr, errors.ErrUnsupported) {
			t.Errorf("%v, %v", err, aerr)
		}
		return
	}
	if err != nil || aerr != nil || available < 0 || available > total || total < 16<<20 || total == math.MaxInt64 {
		t.Errorf("%d of %d, %v, %v", available, total, aerr, err)
	}
}
