package traffic

import (
	"slices"
	"sync"
	"time"
)

// grace is how long after an edit the version before it may still be served.
const grace = time.Second

// timeline knows when each version of a configuration was written.
type timeline struct {
	mu     sync.Mutex
	writes []write
	// grace replaces the usual one where more is allowed.
	grace time.Duration
}

type write struct {
	version int
	at      time.Time
	// written is when all its files were as it says; zero before that.
	written time.Time
	text    string
}

// began must be called just before the files change: from then on the version may be served.
func (l *timeline) began(version int, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = append(l.writes, write{version: version, at: time.Now(), text: text})
}

// ended must be called when the files have changed: on a busy machine that may be much later.
func (l *timeline) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes[len(l.writes)-1].written = time.Now()
}

// inForce lists the versions that may have answered a request of that duration: a version is in
// force from the beginning of its writing until the grace after the end of the writing of the next.
func (l *timeline) inForce(start, end time.Time) []write {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []write
	lingering := max(grace, l.grace)
	for i, w := range l.writes {
		if w.at.After(end) {
			break
		}
		if i+1 == len(l.writes) || l.writes[i+1].written.IsZero() || l.writes[i+1].written.Add(lingering).After(start) {
			out = append(out, w)
		}
	}
	return slices.Clone(out)
}

// last is the version that was written last.
func (l *timeline) last() write {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writes[len(l.writes)-1]
}
