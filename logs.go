package brood

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/brood-go/brood/internal/link"
	"github.com/brood-go/brood/internal/wire"
)

// logRecord is a record of a worker's logger on its way to the parent.
type logRecord struct {
	Time    time.Time
	Level   int
	Message string
	Attrs   []logAttr
}

// logAttr is an attribute: a group, or a value. A value that has no encoding
// travels as text.
type logAttr struct {
	Key   string
	Group []logAttr
	Value any
}

// logSender is the handler of a worker's default logger.
type logSender struct {
	conn   *link.Conn
	attrs  []logAttr // of With, in the groups that were open then
	groups []string
}

// Enabled implements slog.Handler: the parent's handler decides.
func (h *logSender) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *logSender) Handle(_ context.Context, r slog.Record) error {
	var as []slog.Attr
	r.Attrs(func(a slog.Attr) bool {
		as = append(as, a)
		return true
	})
	attrs := travelling(as)
	b, err := wire.Marshal(logRecord{Time: r.Time, Level: int(r.Level), Message: r.Message, Attrs: merge(h.attrs, nest(h.groups, attrs))})
	if err != nil {
		return err
	}
	return h.conn.Send(link.Message{Type: link.Log, Body: b})
}

// WithAttrs implements slog.Handler.
func (h *logSender) WithAttrs(as []slog.Attr) slog.Handler {
	return &logSender{conn: h.conn, groups: h.groups, attrs: merge(h.attrs, nest(h.groups, travelling(as)))}
}

// WithGroup implements slog.Handler.
func (h *logSender) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &logSender{conn: h.conn, attrs: h.attrs, groups: append(h.groups[:len(h.groups):len(h.groups)], name)}
}

// nest puts attributes, if there are any, into groups, the first of which is the outermost.
func nest(groups []string, attrs []logAttr) []logAttr {
	if len(attrs) == 0 {
		return nil
	}
	for i := len(groups) - 1; i >= 0; i-- {
		attrs = []logAttr{{Key: groups[i], Group: attrs}}
	}
	return attrs
}

// merge joins two lists; groups of the same name become one.
func merge(a, b []logAttr) []logAttr {
	out := append([]logAttr(nil), a...)
next:
	for _, y := range b {
		for i, x := range out {
			if y.Group != nil && x.Group != nil && x.Key == y.Key {
				out[i].Group = merge(x.Group, y.Group)
				continue next
			}
		}
		out = append(out, y)
	}
	return out
}

// travelling are attributes as they can be sent. An empty one and an empty group are
// nothing, as for any handler.
func travelling(as []slog.Attr) (out []logAttr) {
	for _, a := range as {
		v := a.Value.Resolve()
		t := logAttr{Key: a.Key}
		switch v.Kind() {
		case slog.KindGroup:
			if t.Group = travelling(v.Group()); t.Group == nil {
				continue
			}
		case slog.KindBool, slog.KindFloat64, slog.KindInt64, slog.KindString, slog.KindUint64, slog.KindTime:
			t.Value = v.Any()
		default: // durations and anything else: as text
			if a.Equal(slog.Attr{}) {
				continue
			}
			t.Value = v.String()
		}
		out = append(out, t)
	}
	return out
}

// arrived is the attribute at the parent.
func arrived(t logAttr) slog.Attr {
	if t.Group == nil {
		return slog.Any(t.Key, t.Value)
	}
	var as []slog.Attr
	for _, m := range t.Group {
		as = append(as, arrived(m))
	}
	return slog.Attr{Key: t.Key, Value: slog.GroupValue(as...)}
}

// maxLogs is how many bytes of records may wait for a handler.
const maxLogs = 16 << 20

// log puts a record on its way to the handler, which may take its time, or wait for the
// worker. What comes while too many wait is dropped, and the handler is told of that.
// The control goroutine alone calls it.
func (h *host) log(record []byte) {
	if h.logs.size() >= maxLogs {
		h.dropped++
		return
	}
	h.logDropped()
	h.logs.push(bytes.Clone(record))
}

// logDropped tells the handler how many records were dropped, once there is room again or
// none comes any more.
func (h *host) logDropped() {
	if h.dropped > 0 {
		note, err := wire.Marshal(logRecord{Time: time.Now(), Level: int(slog.LevelWarn), Message: "brood: records of a worker were dropped: the handler is too slow", Attrs: []logAttr{{Key: "dropped", Value: h.dropped}}})
		if err == nil {
			h.logs.push(note)
		}
		h.dropped = 0
	}
}

// replay gives a worker's record to the handler.
func (h *host) replay(b []byte) {
	var t logRecord
	ctx := context.Background()
	to := h.pool.o.LogHandler
	if wire.Unmarshal(b, &t) != nil || !to.Enabled(ctx, slog.Level(t.Level)) {
		return
	}
	r := slog.NewRecord(t.Time, slog.Level(t.Level), t.Message, 0)
	for _, a := range t.Attrs {
		r.AddAttrs(arrived(a))
	}
	r.AddAttrs(slog.String("worker", h.name), slog.Int("pid", h.pid))
	to.Handle(ctx, r)
}
