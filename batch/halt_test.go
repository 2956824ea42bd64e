package batch

import "testing"

func TestParseHalt(t *testing.T) {
	for s, want := range map[string]Halt{
		"never": {}, "0": {}, "1": {When: HaltSoon, On: OnFail, Count: 1}, "2": {When: HaltNow, On: OnFail, Count: 1}, "-1": {When: HaltSoon, On: OnSuccess, Count: 1}, "-2": {When: HaltNow, On: OnSuccess, Count: 1},
		"now,fail=1": {When: HaltNow, On: OnFail, Count: 1}, "soon,success=3": {When: HaltSoon, On: OnSuccess, Count: 3}, "now,done=10": {When: HaltNow, On: OnDone, Count: 10},
		"soon,fail=30%": {When: HaltSoon, Percent: 30}, "now,done=0.5%": {When: HaltNow, On: OnDone, Percent: 0.5}, "7%": {When: HaltSoon, Percent: 7},
	} {
		if got, err := ParseHalt(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "now", "later,fail=1", "now,fail", "now,fail=0", "now,fail=x", "3", "soon,fail=0%", "soon,fail=101%", "now,done=-1%", "%", "soon,fail=%", "1%%"} {
		if got, err := ParseHalt(s); err == nil {
			t.Errorf("%q gave %+v", s, got)
		}
	}
}
