package chart

import (
	"bytes"
	"fmt"

	"github.com/brood-go/brood/sched"
)

// piece is what is drawn of a job: one stretch in one state, in pixels, or several that are
// too short to be seen in the state of most of them.
type piece struct {
	span     sched.Span
	from, to float64
}

// jobs draws a row for each job, coloured by state.
func (g *svg) jobs(rows []row) {
	if len(rows) == 0 {
		return
	}
	h := min(max(jobsArea/float64(len(rows)), leastRow), bigRow)
	pieces := make([][]piece, len(rows))
	total := 0
	for res := finest; ; res *= 2 {
		total = 0
		for i := range rows {
			pieces[i] = g.pieces(rows[i].spans, res)
			total += len(pieces[i])
		}
		if total <= mostRects || res > barsWidth {
			break
		}
	}
	labels := every(len(rows), h)
	lumps := make(map[string]*bytes.Buffer)
	order := []string{"nw", "re", "he", "bl", "r0", "r1", "r2", "r3"}
	for i := range rows {
		y := g.y + float64(i)*h
		name := Clean(g.s.name(rows[i].job))
		if i%labels == 0 {
			g.label(y+h/2+4, name)
		}
		for _, p := range pieces[i] {
			part := share(p.span.State, g.level(&p.span))
			if h < labelRow { // too thin for differences but the largest
				part = max(min(part*1.6, 1), 0.3)
			}
			high := h * part
			d := rect(p.from, y+(h-high)/2, max(p.to-p.from, finest), high)
			c := class(p.span.State, g.level(&p.span))
			if total <= mostTitles {
				fmt.Fprintf(&g.b, `<path class="%s" d="%s"><title>%s</title></path>`+"\n", c, d, escape(g.tip(name, &p)))
				continue
			}
			if lumps[c] == nil {
				lumps[c] = new(bytes.Buffer)
			}
			lumps[c].WriteString(d)
		}
	}
	for _, c := range order {
		if lumps[c] != nil {
			fmt.Fprintf(&g.b, `<path class="%s" d="%s"/>`+"\n", c, lumps[c].Bytes())
		}
	}
	g.y += float64(len(rows))*h + 6
}

// label writes a job's name at the left, and all of it in the tooltip.
func (g *svg) label(y float64, name string) {
	short := Fit(name, labelChars, "…")
	title := ""
	if short != name {
		title = "<title>" + escape(Fit(name, 1000, "…")) + "</title>"
	}
	fmt.Fprintf(&g.b, `<text x="%s" y="%s" text-anchor="end">%s%s</text>`+"\n", num(barsLeft-10), num(y), title, escape(short))
}

// level is a span's level where there are levels.
func (g *svg) level(s *sched.Span) int {
	if g.s.Levels {
		return s.Level
	}
	return 0
}

// tip is a piece's tooltip.
func (g *svg) tip(name string, p *piece) string {
	s := &p.span
	what := word(s.State)
	if s.State == sched.Running && s.Place > 0 {
		what += " on " + g.s.place(s.Place)
		if g.s.Levels {
			what += fmt.Sprintf(" at level %d", s.Level)
		}
	}
	return fmt.Sprintf("%s: %s, %s to %s (%s)", Fit(name, 100, "…"), what, Duration(s.From), Duration(s.To), Duration(s.To-s.From))
}

// pieces turns a job's spans into pieces of at least res pixels; only what stands alone
// may be shorter.
func (g *svg) pieces(spans []sched.Span, res float64) []piece {
	var all []piece
	for i := 0; i < len(spans); {
		p := piece{span: spans[i], from: g.x(spans[i].From), to: g.x(spans[i].To)}
		var spent [len(inks)]float64
		spent[p.span.State] += p.to - p.from
		for i++; i < len(spans) && p.to-p.from < res && spans[i].From == spans[i-1].To; i++ {
			next := g.x(spans[i].To)
			if next-p.to >= res { // it is seen by itself
				break
			}
			spent[spans[i].State] += next - p.to
			if spent[spans[i].State] > spent[p.span.State] {
				p.span.State, p.span.Level, p.span.Place = spans[i].State, spans[i].Level, spans[i].Place
			}
			p.to, p.span.To = next, spans[i].To
		}
		if n := len(all); n > 0 && g.joins(&all[n-1], &p) {
			all[n-1].to, all[n-1].span.To = p.to, p.span.To
			continue
		}
		all = append(all, p)
	}
	return all
}

// joins reports whether b goes on with what a is.
func (g *svg) joins(a, b *piece) bool {
	return a.span.To == b.span.From && a.span.State == b.span.State && a.span.Place == b.span.Place && g.level(&a.span) == g.level(&b.span)
}
