package chart

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/brood-go/brood/sched"
)

// picture is a document as SVG, well-formed.
func picture(t testing.TB, d Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := SVG(&b, d); err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok && (e.Name.Local == "script" || e.Name.Local == "image" || e.Name.Space != "http://www.w3.org/2000/svg") {
			t.Errorf("element %v", e.Name)
		}
	}
}

func TestSVG(t *testing.T) {
	w := jobs("P1 0 24", "P2 0 3", "P3 0 3 2 1")
	a, b := simulate(t, w, &sched.FCFS{}, sched.Machine{}), simulate(t, w, &sched.MLFQ{Levels: []sched.Level{{Slice: sec, Allotment: sec}, {Slice: sec}}}, sched.Machine{})
	a.Figures = []Figure{{Name: "mean waiting", Value: "17s"}, {Name: "fairness", Value: "0.5", Best: true}}
	b.Note = "a note of its own"
	got := picture(t, Document{Title: "two policies", Note: "three jobs", Schedules: []Schedule{*a, *b}})
	for _, want := range []string{
		">two policies</title>", ">three jobs<", ">fcfs</text>", ">mlfq</text>", ">P1</text>", ">mean waiting </tspan>", `class="best">0.5<`,
		"prefers-color-scheme:dark", ">level Q0<", ">level Q1<", ">a note of its own<", ">CPU 1<", ">30s<",
		"<title>P1, CPU 1: 0 to 24s</title>", "<title>P2: waiting to begin, 0 to 24s (24s)</title>", "<title>P2: running on CPU 1, 24s to 27s (3s)</title>",
		"<title>P3: blocked, ", " at level 1, ", ">running at a level, Q0 the highest, and lower ones<",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(got, "level Q2") {
		t.Error("a level that nobody was at")
	}
	// A second of 33 is 990/33 pixels: P2 begins at 24 of them.
	if want := rect(barsLeft+24*barsWidth/33, 0, 0, 0)[:5]; !strings.Contains(got, want) {
		t.Errorf("no stretch at %s", want)
	}
	picture(t, Document{})
	picture(t, Document{Schedules: []Schedule{{}}})
}

func TestSVGOddNames(t *testing.T) {
	s := simulate(t, oddJobs(), &sched.RR{Slice: sec / 2}, sched.Machine{CPUs: 2})
	s.Title, s.Note = odd[0]+odd[5], odd[7]
	got := picture(t, Document{Title: odd[2] + odd[5], Note: odd[6], Schedules: []Schedule{*s}})
	if strings.ContainsAny(got, "\x00\x07\x1b\u202e") || !strings.Contains(got, "日本語") {
		t.Error("names are not as they should be")
	}
}

// The size is bounded, and all that is drawn lies in the picture.
func TestSVGLarge(t *testing.T) {
	for _, n := range []int{8, 500, 5000} {
		got := picture(t, Document{Schedules: []Schedule{*many(t, n, 4)}})
		if len(got) > 6<<20 {
			t.Errorf("%d jobs: %d bytes", n, len(got))
		}
		if left := strings.Contains(got, "jobs are left out"); left != (n > mostRows) {
			t.Errorf("%d jobs: said to be left out: %v", n, left)
		}
		height, _ := strconv.ParseFloat(regexp.MustCompile(`height="(\d+)"`).FindStringSubmatch(got)[1], 64)
		for _, m := range regexp.MustCompile(`M([\d.-]+) ([\d.-]+)h([\d.]+)v([\d.]+)`).FindAllStringSubmatch(got, -1) {
			var f [4]float64
			for i := range f {
				f[i], _ = strconv.ParseFloat(m[i+1], 64)
			}
			if f[0] < 0 || f[1] < 0 || f[0]+f[2] > barsRight+1 || f[1]+f[3] > height {
				t.Fatalf("%d jobs: %s lies outside", n, m[0])
			}
		}
	}
}

// What is drawn as one adds up to what it is made of.
func TestPieces(t *testing.T) {
	s := many(t, 50, 2)
	g := &svg{end: s.end(), s: s}
	for _, res := range []float64{finest, 2, 50} {
		for _, r := range s.rows() {
			p := g.pieces(r.spans, res)
			first, last := r.spans[0], r.spans[len(r.spans)-1]
			if p[0].span.From != first.From || p[len(p)-1].span.To != last.To {
				t.Fatalf("job %d: %v to %v, not %v to %v", r.job, p[0].span.From, p[len(p)-1].span.To, first.From, last.To)
			}
			for i := 1; i < len(p); i++ {
				if p[i].span.From != p[i-1].span.To || p[i].from != p[i-1].to {
					t.Fatalf("job %d: a gap", r.job)
				}
			}
			if len(p) > len(r.spans) || float64(len(p)) > 2*barsWidth/res+2 {
				t.Errorf("job %d: %d pieces of %d spans", r.job, len(p), len(r.spans))
			}
		}
	}
}
