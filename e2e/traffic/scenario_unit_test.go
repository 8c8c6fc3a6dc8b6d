package traffic

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// The tests are worth nothing if an unexpected reply passes.
func TestUnexpectedReplyIsToldInFull(t *testing.T) {
	s := alternatingBackends("unit")
	s.timeline.writes = []write{{version: 0, at: time.Now().Add(-time.Minute), text: "the files"}}
	r := &reply{request: request{host: host("unit"), path: "/x"}, start: time.Now(), end: time.Now(), code: 503, body: "no healthy upstream"}
	err := s.verify(r)
	if err == nil {
		t.Fatal("a 503 passes")
	}
	for _, part := range []string{"unit", "/x", "no healthy upstream", "want status [200], got 503", "the files"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in:\n%v", part, err)
		}
	}
	r.err = errors.New("connection reset")
	if s.verify(r) == nil {
		t.Error("a broken connection passes")
	}
}

func TestReplyOfAnOldVersionIsUnexpected(t *testing.T) {
	s := alternatingBackends("unit")
	now := time.Now()
	s.timeline.writes = []write{{version: 0, at: now.Add(-time.Minute)}, {version: 1, at: now.Add(-3 * time.Second), written: now.Add(-3 * time.Second)}}
	r := &reply{start: now, end: now, code: 200, header: map[string][]string{"X-Backend": {"a"}}}
	if s.verify(r) == nil {
		t.Error("backend a answers 3 s after b replaced it, and that passes")
	}
	r.header.Set("X-Backend", "b")
	if err := s.verify(r); err != nil {
		t.Error(err)
	}
}
