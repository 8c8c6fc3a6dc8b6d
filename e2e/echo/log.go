package echo

import (
	"sync"
	"time"
)

// maxLines bounds the memory of a backend under continuous traffic.
const maxLines = 20_000

// Log keeps the last lines with their time.
type Log struct {
	mu    sync.Mutex
	lines []line
}

type line struct {
	at   time.Time
	text string
}

// Add appends a line.
func (l *Log) Add(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == maxLines {
		l.lines = append(l.lines[:0], l.lines[maxLines/2:]...)
	}
	l.lines = append(l.lines, line{time.Now(), text})
}

// Since returns the lines at or after a time.
func (l *Log) Since(since time.Time) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, line := range l.lines {
		if !line.at.Before(since) {
			out = append(out, line.text)
		}
	}
	return out
}
