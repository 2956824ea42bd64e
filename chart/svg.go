package chart

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/brood-go/brood/sched"
)

// Document is a picture of schedules, one below the other on the same time axis.
type Document struct {
	Title, Note string
	Schedules   []Schedule
}

// Sizes, in pixels.
const (
	svgWidth   = 1200.0
	svgMargin  = 24.0
	barsLeft   = 170.0
	barsRight  = svgWidth - 40
	barsWidth  = barsRight - barsLeft
	axisSize   = 26.0
	bigRow     = 24.0
	jobsArea   = 900.0 // of more jobs the rows get thinner
	leastRow   = 1.5
	labelRow   = 11.0 // the least height of a row that has its name
	charWidth  = 7.0  // about that of the font, at 12.5 pixels
	labelChars = 19   // that have room at the left
)

// Bounds of what is drawn.
const (
	mostRows     = 1000
	mostPlaces   = 128
	mostTitles   = 4_000 // stretches, up to which each has a tooltip
	mostRects    = 100_000
	finest       = 1.0 / 3 // pixels: shorter stretches are drawn together
	paletteSize  = 8
	mostLevels   = 16
	levelLaneMin = 3.0
)

// svg draws a document.
type svg struct {
	b   bytes.Buffer
	end time.Duration // of all schedules
	y   float64
	s   *Schedule
	row []row
	on  []stretch
	num map[sched.Job]int // of its row, which its hue comes from
}

// SVG draws a document that stands alone: no scripts, no fonts, nothing from elsewhere, for
// light and dark. The names of jobs are shown in full when the pointer is on them. Its size
// is bounded, whatever is in the schedules; what is left out is said.
func SVG(w io.Writer, d Document) error {
	g := &svg{y: svgMargin}
	for i := range d.Schedules {
		g.end = max(g.end, d.Schedules[i].end())
	}
	g.y += 22
	g.text(svgMargin, g.y, "h1", "start", Fit(Clean(d.Title), 90, "…"))
	if d.Note != "" {
		g.y += 22
		g.text(svgMargin, g.y, "dim", "start", Fit(Clean(d.Note), 160, "…"))
	}
	g.legend(d.Schedules)
	for i := range d.Schedules {
		g.schedule(&d.Schedules[i])
	}
	height := math.Ceil(g.y + svgMargin)
	if _, err := fmt.Fprintf(w, svgHead, svgWidth, height, svgWidth, height, escape(Clean(d.Title))); err != nil {
		return err
	}
	if _, err := w.Write(g.b.Bytes()); err != nil {
		return err
	}
	_, err := io.WriteString(w, "</svg>\n")
	return err
}

// schedule draws one schedule below what is there.
func (g *svg) schedule(s *Schedule) {
	g.s, g.row, g.num = s, s.rows(), make(map[sched.Job]int)
	g.on = stretches(g.row)
	for i := range g.row {
		g.num[g.row[i].job] = i
	}
	left := max(len(g.row)-mostRows, 0)
	g.y += 44
	g.text(svgMargin, g.y, "h2", "start", Fit(Clean(s.Title), 90, "…"))
	g.figures()
	g.y += 14
	top := g.y
	mark := g.b.Len()
	g.places()
	g.levels()
	g.jobs(g.row[:len(g.row)-left])
	g.axis(mark, top)
	if left > 0 {
		g.y += 16
		g.text(barsLeft, g.y, "dim", "start", fmt.Sprintf("%d of %d jobs are left out", left, len(g.row)))
	}
	if s.Note != "" {
		g.y += 16
		g.text(barsLeft, g.y, "dim", "start", Fit(Clean(s.Note), 130, "…"))
	}
}

// figures writes names and values, in as many lines as they need.
func (g *svg) figures() {
	const perLine = 6
	for i, f := range g.s.Figures {
		if i%perLine == 0 {
			g.y += 22
		}
		x := svgMargin + float64(i%perLine)*(svgWidth-2*svgMargin)/perLine
		class := "fig"
		if f.Best {
			class = "best"
		}
		fmt.Fprintf(&g.b, `<text x="%s" y="%s"><tspan class="dim">%s </tspan><tspan class="%s">%s</tspan></text>`+"\n",
			num(x), num(g.y), escape(Clean(f.Name)), class, escape(Clean(f.Value)))
	}
}

// legend shows what colours mean.
func (g *svg) legend(all []Schedule) {
	var seen [len(inks)]bool
	levels := false
	for i := range all {
		for _, s := range all[i].Spans {
			if g.x(s.To)-g.x(s.From) >= finest {
				seen[s.State] = true
			}
		}
		levels = levels || all[i].Levels
	}
	g.y += 28
	x := svgMargin
	for _, s := range []sched.State{sched.Running, sched.New, sched.Ready, sched.Held, sched.Blocked} {
		if !seen[s] {
			continue
		}
		h := 14 * share(s, 0)
		fmt.Fprintf(&g.b, `<path class="%s" d="M%s %sh22v%sh-22z"/>`+"\n", class(s, 0), num(x), num(g.y-4-h/2), num(h))
		g.text(x+29, g.y, "", "start", word(s))
		x += 29 + charWidth*float64(len(word(s))) + 22
	}
	if levels {
		for level := range 4 {
			h := 14 * share(sched.Running, level)
			fmt.Fprintf(&g.b, `<path class="%s" d="M%s %sh18v%sh-18z"/>`+"\n", class(sched.Running, level), num(x), num(g.y-4-h/2), num(h))
			x += 18
		}
		g.text(x+7, g.y, "", "start", "running at a level, Q0 the highest, and lower ones")
	}
}

// share is how much of its row's height a state takes, so that it is told without colour, too.
func share(s sched.State, level int) float64 {
	switch s {
	case sched.Running:
		return max(0.86-0.13*float64(level), 0.47)
	case sched.Blocked:
		return 0.3
	case sched.Held:
		return 0.3
	}
	return 0.14
}

// class is that of a state's colour.
func class(s sched.State, level int) string {
	switch s {
	case sched.Running:
		return fmt.Sprintf("r%d", min(max(level, 0), 3))
	case sched.Blocked:
		return "bl"
	case sched.Held:
		return "he"
	case sched.New:
		return "nw"
	}
	return "re"
}

// places draws the classic chart: a row for each place, with names where they have room.
func (g *svg) places() {
	if len(g.on) == 0 {
		return
	}
	n := g.on[len(g.on)-1].place
	if n > mostPlaces {
		return
	}
	h := min(max(260/float64(n), 3), bigRow)
	every := every(n, h)
	for p := 1; p <= n; p++ {
		if (p-1)%every == 0 {
			g.text(barsLeft-10, g.y+float64(p-1)*h+h/2+4, "dim", "end", g.s.place(p))
		}
	}
	g.boxes(h, func(s *stretch) float64 { return g.y + float64(s.place-1)*h }, g.on)
	g.y += float64(n)*h + 12
}

// levels draws who ran at which level: a lane for each level, in it one for each place.
func (g *svg) levels() {
	if !g.s.Levels || len(g.on) == 0 {
		return
	}
	most, places := 0, g.on[len(g.on)-1].place
	var parts []stretch
	for i := range g.on {
		for k := range g.on[i].spans {
			s := g.on[i].spans[k]
			if s.State == sched.Running {
				most = max(most, s.Level)
				parts = append(parts, stretch{s.Job, s.Place, s.From, s.To, g.on[i].spans[k : k+1]})
			}
		}
	}
	slices.SortStableFunc(parts, func(a, b stretch) int {
		return cmp.Or(cmp.Compare(a.spans[0].Level, b.spans[0].Level), cmp.Compare(a.place, b.place), cmp.Compare(a.from, b.from))
	})
	if places > mostPlaces || most >= mostLevels || len(parts) == 0 {
		return
	}
	lane := max(min(20, 60/float64(places)), levelLaneMin)
	gap := 4.0
	for level := 0; level <= most; level++ {
		y := g.y + float64(level)*(lane*float64(places)+gap)
		fmt.Fprintf(&g.b, `<path class="lane" d="M%s %sh%sv%sh-%sz"/>`+"\n", num(barsLeft), num(y), num(barsWidth), num(lane*float64(places)), num(barsWidth))
		g.text(barsLeft-10, y+lane*float64(places)/2+4, "dim", "end", fmt.Sprintf("level Q%d", level))
	}
	g.boxes(lane, func(s *stretch) float64 {
		return g.y + float64(s.spans[0].Level)*(lane*float64(places)+gap) + float64(s.place-1)*lane
	}, parts)
	g.y += float64(most+1)*(lane*float64(places)+gap) + 8
}

// boxes draws stretches as boxes in the jobs' hues. Small ones of one row that touch are
// drawn as one.
func (g *svg) boxes(h float64, top func(*stretch) float64, all []stretch) {
	pad := min(1, h/8)
	titles := len(all) <= mostTitles
	var lumps [paletteSize]bytes.Buffer
	for i := 0; i < len(all); i++ {
		s := &all[i]
		x, end, y := g.x(s.from), g.x(s.to), top(s)
		for i+1 < len(all) && (end-x < finest || !titles && end-x < 1) && top(&all[i+1]) == y && g.x(all[i+1].from)-end < finest {
			i++
			end = max(end, g.x(all[i].to))
		}
		hue := g.num[s.job] % paletteSize
		gap := 0.0
		if end-x > 4 {
			gap = 1
		}
		d := rect(x, y+pad, max(end-x-gap, finest), h-2*pad)
		if !titles {
			lumps[hue].WriteString(d)
			continue
		}
		name := Fit(Clean(g.s.name(s.job)), 100, "…")
		fmt.Fprintf(&g.b, `<path class="j%d" d="%s"><title>%s</title></path>`+"\n", hue, d, escape(fmt.Sprintf("%s, %s: %s to %s", name, g.s.place(s.place), Duration(s.from), Duration(s.to))))
		if room := int((end - x - 6) / 7.8); h >= labelRow && room > 0 {
			short := Fit(name, room, "…")
			if short == name || Width(short) > 3 {
				g.text((x+end-gap)/2, y+h/2+4.2, "in", "middle", short)
			}
		}
	}
	for hue := range lumps {
		if lumps[hue].Len() > 0 {
			fmt.Fprintf(&g.b, `<path class="j%d" d="%s"/>`+"\n", hue, lumps[hue].Bytes())
		}
	}
}

// x is where a time is.
func (g *svg) x(at time.Duration) float64 {
	return barsLeft + min(float64(at)/float64(g.end), 1)*barsWidth
}

// every is how many rows of this height share a label: of round numbers.
func every(n int, h float64) int {
	for k := 1; ; k *= 10 {
		for _, m := range []int{1, 2, 5} {
			if float64(k*m)*h >= labelRow+2 || k*m >= n {
				return k * m
			}
		}
	}
}

// axis draws lines and times, below what was drawn since mark: they lie beneath it.
func (g *svg) axis(mark int, top float64) {
	above := bytes.Clone(g.b.Bytes()[mark:])
	g.b.Truncate(mark)
	every := step(g.end, 12)
	for at := time.Duration(0); ; at += every {
		x := g.x(at)
		fmt.Fprintf(&g.b, `<path class="grid" d="M%s %sV%s"/>`+"\n", num(x), num(top), num(g.y+5))
		g.text(x, g.y+19, "dim", "middle", tick(at, g.end))
		if at > g.end-every {
			break
		}
	}
	g.b.Write(above)
	fmt.Fprintf(&g.b, `<path class="rule" d="M%s %sH%s"/>`+"\n", num(barsLeft), num(g.y+0.5), num(barsRight))
	g.y += axisSize
}

// text writes a string.
func (g *svg) text(x, y float64, class, anchor, s string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	if anchor != "start" {
		anchor = ` text-anchor="` + anchor + `"`
	} else {
		anchor = ""
	}
	fmt.Fprintf(&g.b, `<text x="%s" y="%s"%s%s>%s</text>`+"\n", num(x), num(y), class, anchor, escape(s))
}

// rect is a rectangle's path.
func rect(x, y, w, h float64) string {
	return "M" + num(x) + " " + num(y) + "h" + num(w) + "v" + num(h) + "h-" + num(w) + "z"
}

// num is a coordinate, to a hundredth of a pixel.
func num(f float64) string {
	s := fmt.Sprintf("%.2f", f)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}
