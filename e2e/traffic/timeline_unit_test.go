package traffic

import (
	"fmt"
	"testing"
	"time"
)

func TestVersionIsInForceUntilGraceAfterTheNext(t *testing.T) {
	zero := time.Now()
	at := func(milliseconds int) time.Time { return zero.Add(time.Duration(milliseconds) * time.Millisecond) }
	l := &timeline{writes: []write{
		{version: 0, at: at(0), written: at(0)}, {version: 1, at: at(2000), written: at(2000)},
		{version: 2, at: at(9000), written: at(9500)}, {version: 3, at: at(12000)},
	}}
	for _, c := range []struct {
		start, end int
		want       string
	}{
		{100, 200, "[0]"},
		{1900, 2100, "[0 1]"}, // written while the request was under way
		{2900, 2950, "[0 1]"}, // within the grace
		{3100, 3200, "[1]"},
		{3100, 9500, "[1 2]"},
		{100, 9500, "[0 1 2]"},
		{10400, 10450, "[1 2]"}, // within the grace after the last of its files
		{10600, 10700, "[2]"},
		{14000, 14100, "[2 3]"}, // not all files are written
	} {
		var got []int
		for _, w := range l.inForce(at(c.start), at(c.end)) {
			got = append(got, w.version)
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("from %d to %d: got %v, want %s", c.start, c.end, got, c.want)
		}
	}
}
