package brood

import (
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
	var attrs []logAttr
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, travelling(a))
		return true
	})
	b, err := wire.Marshal(logRecord{Time: r.Time, Level: int(r.Level), Message: r.Message, Attrs: merge(h.attrs, nest(h.groups, attrs))})
	if err != nil {
		return err
	}
	return h.conn.Send(link.Message{Type: link.Log, Body: b})
}

// WithAttrs implements slog.Handler.
func (h *logSender) WithAttrs(as []slog.Attr) slog.Handler {
	var attrs []logAttr
	for _, a := range as {
		attrs = append(attrs, travelling(a))
	}
	return &logSender{conn: h.conn, groups: h.groups, attrs: merge(h.attrs, nest(h.groups, attrs))}
}

// WithGroup implements slog.Handler.
func (h *logSender) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &logSender{conn: h.conn, attrs: h.attrs, groups: append(h.groups[:len(h.groups):len(h.groups)], name)}
}

// nest puts attributes into groups, the first of which is the outermost.
func nest(groups []string, attrs []logAttr) []logAttr {
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

// travelling is an attribute as it can be sent.
func travelling(a slog.Attr) logAttr {
	v := a.Value.Resolve()
	t := logAttr{Key: a.Key}
	switch v.Kind() {
	case slog.KindGroup:
		for _, m := range v.Group() {
			t.Group = append(t.Group, travelling(m))
		}
	case slog.KindBool, slog.KindFloat64, slog.KindInt64, slog.KindString, slog.KindUint64, slog.KindTime:
		t.Value = v.Any()
	default: // durations and anything else: as text
		t.Value = v.String()
	}
	return t
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

// replay gives a worker's record to the parent's handler.
func replay(h slog.Handler, b []byte, worker string, pid int) {
	var t logRecord
	ctx := context.Background()
	if wire.Unmarshal(b, &t) != nil || !h.Enabled(ctx, slog.Level(t.Level)) {
		return
	}
	r := slog.NewRecord(t.Time, slog.Level(t.Level), t.Message, 0)
	for _, a := range t.Attrs {
		r.AddAttrs(arrived(a))
	}
	r.AddAttrs(slog.String("worker", worker), slog.Int("pid", pid))
	h.Handle(ctx, r)
}
